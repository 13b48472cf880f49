"""Croissant metadata (mlcommons.org/croissant/1.0): what machines need to know to load the benchmark."""

import hashlib
from pathlib import Path
from typing import Any, Final

from safemt.benchmark.layouts import SAMPLES_FILE

_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_FIELDS: Final = {
    "query_id": ("sc:Text", "The query; the same at every number of turns"),
    "turns": ("sc:Integer", "k: the number of user turns"),
    "scenario": ("sc:Text", "One of the 17 scenarios of SafeMT"),
    "method": ("sc:Text", "How the dialogue conceals its intent; null for one turn"),
    "question": ("sc:Text", "The query itself"),
    "image": ("sc:Text", "Path of the image"),
    "image_sha256": ("sc:Text", "SHA-256 of the image file"),
    "twin_of": ("sc:Text", "The harmful query whose benign twin this is; null for a harmful one"),
    "language": ("sc:Text", "Language code"),
    "source": ("sc:Text", "The set that the query comes from"),
    "licence": ("sc:Text", "Licence of that set, as far as known"),
}


def croissant(
    folder: Path, *, name: str, build: str, description: str, licences: list[str]
) -> dict[str, Any]:
    """The metadata of a finished benchmark in `folder`."""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "version": f"1.0.0+{build[:12]}",
        "identifier": build,
        "license": licences,
        "isLiveDataset": False,
        "keywords": ["safety", "multi-turn", "multimodal", "red teaming", "benchmark"],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": SAMPLES_FILE,
                "name": SAMPLES_FILE,
                "contentUrl": SAMPLES_FILE,
                "encodingFormat": "application/jsonlines",
                "sha256": hashlib.sha256((folder / SAMPLES_FILE).read_bytes()).hexdigest(),
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "description": "One dialogue of one query at one number of turns.",
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"samples/{field}",
                        "name": field,
                        "description": about,
                        "dataType": kind,
                        "source": {
                            "fileObject": {"@id": SAMPLES_FILE},
                            "extract": {"column": field},
                        },
                    }
                    for field, (kind, about) in _FIELDS.items()
                ]
                + [_dialogue_field()],
            }
        ],
    }


def _dialogue_field() -> dict[str, Any]:
    source = {"fileObject": {"@id": SAMPLES_FILE}}
    return {
        "@type": "cr:Field",
        "@id": "samples/dialogue",
        "name": "dialogue",
        "description": "The messages, user first and last",
        "repeated": True,
        "source": {**source, "extract": {"column": "dialogue"}},
        "subField": [
            {
                "@type": "cr:Field",
                "@id": f"samples/dialogue/{part}",
                "name": part,
                "dataType": "sc:Text",
                "source": {
                    **source,
                    "extract": {"column": "dialogue"},
                    "transform": {"jsonPath": f"$.{part}"},
                },
            }
            for part in ("role", "content")
        ],
    }
