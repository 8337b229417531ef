"""The ``flyinglow`` command: finds the subcommand, runs it, and turns what goes wrong into words and an exit code."""

from __future__ import annotations

import importlib
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from flyinglow.cli.complaint import complain
from flyinglow.cli.credentials import Shown
from flyinglow.cli.exits import TABLE, Exit
from flyinglow.cli.session import Session
from flyinglow.nodectl.errors import FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "offers": ("inspect:offers", "Lease", "Show what the site offers and what is free now."),
        "create": ("create:create", "Lease", "Lease virtual machines."),
        "estimate": ("create:estimate", "Lease", "Say when a request would start."),
        "list": ("inspect:list_", "Lease", "List what you lease."),
        "show": ("inspect:show", "Lease", "Show one lease or machine."),
        "watch": ("follow:watch", "Lease", "Print what happens, as it happens."),
        "deliveries": ("deliveries:deliveries", "Lease", "Show what a subscription delivered, and send it again."),
        "wait": ("follow:wait", "Lease", "Wait until a lease or machine is in a state."),
        "share": ("access:share", "Lease", "Share a lease with others."),
        "unshare": ("access:unshare", "Lease", "Share it no longer."),
        "shares": ("access:shares", "Lease", "List with whom it is shared."),
        "quota": ("access:quota", "Lease", "Show what you may lease, and have."),
        "extend": ("operate:extend", "Lease", "Move the end of a lease."),
        "rename": ("operate:rename", "Lease", "Give a lease or machine another name."),
        "end-action": ("operate:end_action", "Lease", "Say what becomes of the disks at the end."),
        "done": ("operate:done", "Lease", "Close an open ensemble, so that it starts."),
        "destroy": ("operate:destroy", "Lease", "End a lease and give everything back."),
        "start": ("operate:start", "Machines", "Start what is shut down."),
        "shutdown": ("operate:shutdown", "Machines", "Shut down."),
        "pause": ("operate:pause", "Machines", "Stop executing, stay in memory."),
        "resume": ("operate:resume", "Machines", "Go on after a pause."),
        "reboot": ("operate:reboot", "Machines", "Start the guest anew."),
        "console": ("console:console", "Machines", "Print what a guest says on its console."),
        "demo": ("demo", "Site", "Set up a site on this machine and lease a cluster from it."),
        "init": ("daemon:init", "Site", "Write a commented configuration file."),
        "doctor": ("daemon:doctor", "Site", "Examine a site and say how to mend it."),
        "serve": ("daemon:serve", "Site", "Run the service."),
        "admin": ("admin:admin", "Site", "Administer the running service."),
    },
)
"""Module and function, section and one line of help of every subcommand. Help is given without importing any."""


class Lazy(click.Group):
    """A group that imports a subcommand when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name them all."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        if cmd_name not in COMMANDS:
            return None
        where = COMMANDS[cmd_name][0]
        module, _, function = where.partition(":")
        path = f"flyinglow.cli.commands.{module}" if function else f"flyinglow.cli.{module}.command"
        command: click.Command = getattr(importlib.import_module(path), function or module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them by section, and the exit codes."""
        for section in dict.fromkeys(section for _, section, _ in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, of, text) in COMMANDS.items() if of == section])
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(each.code)), each.meaning) for each in TABLE.values()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="flyinglow", prog_name="flyinglow")
@click.option("--service", metavar="URL", help="The service (also FLYINGLOW_SERVICE, client.toml).")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.option("--proxy", metavar="FILE", help="Your proxy certificate (also X509_USER_PROXY, client.toml).")
@click.option("--cert", "certificate", metavar="FILE", help="Your certificate (also X509_USER_CERT, client.toml).")
@click.option("--key", "private_key", metavar="FILE", help="Its key (also X509_USER_KEY, client.toml).")
@click.option("--ca-dir", "ca_directory", metavar="DIR", help="Authorities of services (also X509_CERT_DIR).")
@click.option("--token-file", metavar="FILE", help="Your bearer token (also BEARER_TOKEN_FILE, client.toml).")
@click.pass_context
def app(ctx: click.Context, /, *, service: str | None, as_json: bool, **shown: str | None) -> None:
    """Lease virtual machines on a cluster through the batch scheduler that the site already runs."""
    session: Session = ctx.ensure_object(Session)
    session.service, session.json, session.shown = service, as_json, Shown(**shown)


def run(arguments: Sequence[str] | None = None, session: Session | None = None) -> int:
    """Run the command and return its exit code; what goes wrong is told on standard error."""
    session = session or Session()
    given = None if arguments is None else list(arguments)
    try:
        done = app.main(given, prog_name="flyinglow", standalone_mode=False, obj=session)
    except click.exceptions.Exit as ended:
        return int(ended.exit_code)
    except click.ClickException as error:
        error.show()
        return int(Exit.INVALID)
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nDetached; leases go on.", err=True)
        return int(Exit.DETACHED)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has seen enough
        return int(Exit.OK)
    except (FlyingLowError, OSError) as error:
        return int(complain(error, as_json=session.json, leasing=session.leasing))
    return int(done or Exit.OK)


def main() -> None:
    """Run the command and exit."""
    sys.exit(run())


if __name__ == "__main__":
    main()
