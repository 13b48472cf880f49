"""From a torch encoder to the int8 ONNX file that ships."""

import tempfile
import warnings
from pathlib import Path
from typing import Final

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from training.encoder import Encoder

OPSET: Final = 17


def export_int8(encoder: Encoder, path: Path) -> None:
    """Write `encoder` as ONNX: int8 weights by channel, activations quantised on the fly.

    Inputs `input_ids`, `attention_mask` int64 [batch, tokens]; output `embedding` float32 [batch, hidden].
    """
    encoder = encoder.to("cpu").float().eval()
    example = (torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8), dtype=torch.int64))
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "encoder.onnx"
        with warnings.catch_warnings():
            # The exporter that needs no further package is called legacy; it warns of that at every call.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                encoder,
                example,
                str(plain),
                input_names=["input_ids", "attention_mask"],
                output_names=["embedding"],
                dynamic_axes={
                    "input_ids": {0: "batch", 1: "tokens"},
                    "attention_mask": {0: "batch", 1: "tokens"},
                    "embedding": {0: "batch"},
                },
                opset_version=OPSET,
                dynamo=False,
            )
        quantize_dynamic(
            plain,
            path,
            per_channel=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gather"],
            extra_options={"MatMulConstBOnly": True},
        )
    onnx.checker.check_model(str(path))
