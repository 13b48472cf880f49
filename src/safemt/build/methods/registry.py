"""The methods that there are."""

from collections.abc import Mapping
from typing import Final

from safemt.build.methods.base import TemplateMethod
from safemt.build.methods.gradual import Gradual
from safemt.build.methods.hybrid import Hybrid
from safemt.build.methods.in_context import InContext
from safemt.build.methods.role_play import RolePlay
from safemt.core.taxonomy import Method

METHODS: Final[Mapping[Method, TemplateMethod]] = {
    writer.method: writer for writer in (Gradual(), RolePlay(), InContext(), Hybrid())
}
