"""`fjord site …`: what all keys together may use."""

from server.accounts.tenant_wire import SitePatch, site_out
from server.accounts.use_wire import site_used
from server.cli.allowance_options import SaidAllowance, Unset, applied, unset_fields, with_allowance
from server.cli.apps import new_app
from server.cli.key_fields import checked
from server.cli.options import DEFAULT_DIR, AsJson, DataDir, LedgerUrl
from server.cli.tenant_books import changing_books, tenant_books
from server.cli.tenant_table import show_level
from server.ledger.level_use import level_use
from server.ledger.site_store import SiteStore

app = new_app(no_args_is_help=True, help="Show and change what all API keys together may use.")


@app.command()
def show(
    data_dir: DataDir = DEFAULT_DIR, ledger_url: LedgerUrl = None, as_json: AsJson = False
) -> None:
    """The limits, budget, models, currency and price factor of all keys together."""
    with tenant_books(data_dir, ledger_url) as database:
        site = SiteStore(database).get()
        used = site_used(site, level_use(database, site))
    show_level(used, as_json)


@app.command()
@with_allowance
def update(
    allowance: SaidAllowance,
    unset: Unset = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; running servers follow within two seconds."""
    fields = allowance.fields | unset_fields(unset, SitePatch)
    patch = checked(lambda: SitePatch(**fields))
    allowance.check_models()
    with changing_books(data_dir, ledger_url) as database:
        change = applied(patch.apply, allowance)
        site = checked(lambda: SiteStore(database).update(change))
    show_level(site_out(site), as_json)
