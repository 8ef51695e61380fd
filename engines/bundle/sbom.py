"""What is in a bundle, as a software bill of materials (CycloneDX 1.6, JSON)."""

import email.parser
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engines.bundle.contents import BundlePiece, ModelWeights
from engines.registry.sources import PACKAGE, is_local
from engines.weights.manifest import read_manifest

SBOM = "sbom.cdx.json"


def sbom_piece(
    fjord: str, models: Iterable[ModelWeights], wheels: Mapping[Path, str], created: str
) -> BundlePiece:
    """`wheels`: each wheel's SHA-256. The library is imported here alone."""
    import datetime
    import uuid

    from cyclonedx.model.bom import Bom
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom(
        components=[
            *(_model(each, number) for number, each in enumerate(models)),
            *(_wheel(path, digest) for path, digest in sorted(wheels.items())),
        ]
    )
    bom.metadata.timestamp = datetime.datetime.fromisoformat(created)
    bom.metadata.component = root = _fjord(fjord)
    bom.register_dependency(root, bom.components)
    names = " ".join(sorted(str(each.bom_ref) for each in bom.components))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"fjord-bundle {created} {names}")
    return BundlePiece(SBOM, JsonV1Dot6(bom).output_as_string(indent=1).encode() + b"\n")


def _fjord(version: str) -> Any:
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name="fjord-server",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="fjord",
        licenses=_licences("Apache-2.0"),
    )


def _model(model: ModelWeights, number: int) -> Any:
    """`number`: several may have one name, as folders and revisions do. Its hash is that of its
    manifest, which has the hash of every file."""
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    source = model.spec.source
    is_of_hub = not (source.startswith(PACKAGE) or is_local(source))
    manifest = read_manifest(model.folder) if is_of_hub else None
    name = Path(source).name if is_local(source) else source
    return Component(
        name=name,
        version=(manifest.commit if manifest else model.folder.name if is_of_hub else None),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{number}:{name}:{model.spec.file or ''}",
        licenses=_licences(manifest.licence if manifest else None),
        properties=[
            Property(name=f"fjord:sha256:{file}", value=stored.sha256)
            for file, stored in (manifest.files.items() if manifest else ())
        ],
    )


def _wheel(path: Path, digest: str) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    read = _metadata(path)
    name, version = str(read.get("Name", path.stem)), str(read.get("Version", ""))
    return Component(
        name=name,
        version=version,
        purl=PackageURL("pypi", None, canonical(name), version),
        bom_ref=f"pypi:{name}@{version}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        licenses=_licences(read.get("License-Expression") or _one_line(read.get("License"))),
    )


def canonical(name: str) -> str:
    """A package's name as indexes and purls have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _metadata(path: Path) -> Mapping[str, str]:
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            if name.endswith(".dist-info/METADATA") and name.count("/") == 1:
                text = wheel.read(name).decode("utf-8", "replace")
                return dict(email.parser.HeaderParser().parsestr(text).items())
    return {}


def _one_line(licence: str | None) -> str | None:
    """Some write the whole text there; that is in the wheel."""
    return licence if licence and "\n" not in licence and len(licence) < 100 else None


def _licences(named: str | None) -> list[Any]:
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(named)] if named else []
