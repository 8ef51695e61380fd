"""`fjord bundle …`: one file that carries a site to a machine without a network."""

import datetime
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from engines.bundle.errors import BundleError
from engines.bundle.install import install as install_bundle
from engines.bundle.parts import PartsReader, all_parts
from engines.bundle.read import Opened, verified
from engines.bundle.seal import new_key, public_key
from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.bars import Bar, size_words
from server.cli.options import DEFAULT_DIR, DataDir
from server.refusal import CannotStart
from server.settings import read_settings

app = new_app(
    no_args_is_help=True,
    help="Make, verify and install one file with all a site needs.\n\n"
    "Models, wheels and Fjord itself, for machines without a network: signed with a key of\n"
    "yours, compared byte for byte before anything is put in place.",
)

Files: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", help="The bundle, or its parts; FILE.001 finds the others."),
]
PublicKey: TypeAlias = Annotated[
    Path | None,
    typer.Option("--key", metavar="PUB", help="It must be signed by this key."),
]


@app.command()
def create(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Write here.")],
    aliases: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Carry these models. [default: the preloaded ones]"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Carry every model.")] = False,
    wheels: Annotated[
        bool, typer.Option("--wheels", help="Carry the locked wheels for machines like this one.")
    ] = False,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Carry a container image: a tar of docker save."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="SIZE", help="In parts of this size: 4G, 700M.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign it: NAME.key of `fjord bundle key`.")
    ] = None,
    delta: Annotated[
        Path | None,
        typer.Option(metavar="FROM", help="Carry what this earlier bundle lacks."),
    ] = None,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    data_dir: options.DataDir = None,
) -> None:
    """Make a bundle of models, wheels and Fjord.

    In it are the registry, weights, docs and a bill of materials too. The weights must be here
    (fjord weights pull). Without --key it is not signed, and every verify says so.
    """
    from server.cli.bundle_made import BundleRequest, make_bundle

    settings = read_settings(registry=registry, profile=profile, engine=engine, data_dir=data_dir)
    asked = BundleRequest(
        output=output,
        aliases=tuple(filter(None, (aliases or "").split(","))),
        every=every,
        wheels=wheels,
        image=image,
        part_bytes=None if split is None else part_size(split),
        key=key,
        base=delta,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    with told(), Bar() as bar:
        made = make_bundle(asked, settings, bar)
    for path in made.files:
        typer.echo(f"{path}  {size_words(path.stat().st_size)}")
    typer.echo(
        f"bundle {made.id[:16]}: {_contents(made.manifest.aliases, len(made.manifest.files))}"
    )
    typer.echo("signed" if key else "NOT SIGNED: --key signs it")


@app.command()
def key(
    name: Annotated[
        Path, typer.Option("--output", "-o", metavar="NAME", help="Write NAME.key and NAME.pub.")
    ] = Path("bundle"),
) -> None:
    """Make a key pair (Ed25519).

    NAME.key signs and stays secret, NAME.pub checks.
    """
    private, public = name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")
    for path in (private, public):
        if path.exists():
            raise CannotStart(f"{path} is there already; choose another name, or remove it.")
    try:
        print_of = new_key(private, public)
    except OSError as error:
        raise CannotStart(f"{error.filename} cannot be written: {error.strerror}.") from None
    typer.echo(
        f"key {print_of}\n  {private}  signs: keep it secret\n  {public}  checks: hand it out"
    )


@app.command()
def verify(files: Files, key: PublicKey = None) -> None:
    """Compare signature and every byte.

    The first thing that is wrong is named; nothing is written.
    """
    with told(), Bar() as bar:
        wanted = None if key is None else public_key(key)
        with PartsReader(all_parts(files)) as reader:
            found = verified(reader, wanted, bar.progress)
    _show(found)
    if found.manifest.base is not None:
        typer.echo(f"  a delta: bundle {found.manifest.base[:16]} must be installed before it")
    typer.echo("  whole: every byte is as it was made")


@app.command()
def install(files: Files, key: PublicKey = None, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Compare every byte, then put all in place at once.

    It goes on where an earlier one was cut. What was installed before stays in use until then,
    and is kept.
    """
    with told(), Bar() as bar:
        wanted = None if key is None else public_key(key)
        done = install_bundle(all_parts(files), data_dir, wanted, bar.progress)
    _show(done.found)
    typer.echo(f"  {'installed' if done.is_new else 'was installed, and is whole'}: {done.folder}")
    typer.echo(
        f"  serve it: fjord serve --offline --registry {data_dir}/bundle/model_registry.yaml"
    )


def _show(found: Opened) -> None:
    manifest = found.manifest
    typer.echo(f"bundle {found.id[:16]}: {_contents(manifest.aliases, len(manifest.files))}")
    typer.echo(f"  made {manifest.created} by Fjord {manifest.fjord}, {size_words(manifest.size)}")
    typer.echo(f"  {found.seal.in_words()}")


def _contents(aliases: tuple[str, ...], files: int) -> str:
    more = f" and {len(aliases) - 3} more" if len(aliases) > 3 else ""
    return f"{', '.join(aliases[:3])}{more}; {files} files"


def part_size(text: str) -> int:
    """4G -> bytes, in powers of 1024 as split(1) has it. Raises CannotStart."""
    found = re.fullmatch(r"(\d{1,6})([KMG])", text)
    size = int(found[1]) * 1024 ** ("KMG".index(found[2]) + 1) if found else 0
    if size < 64 * 1024:
        raise CannotStart(f"--split {text}: right would be a size like 4G or 700M, 64K at least.")
    return size


@contextmanager
def told() -> Iterator[None]:
    """BundleError is for people."""
    try:
        yield
    except BundleError as error:
        raise CannotStart(f"{error}.") from None
