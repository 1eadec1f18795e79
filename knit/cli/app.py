"""All commands in one table. A command's module is imported when the command is run or its help is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from knit.cli.goflags import ANSWERS_HELP, no_such

COMMANDS: dict[str, tuple[str, str]] = {
    "add": ("certs", "Add a certificate to the list, or change the one with these names."),
    "set": ("certs", "Change what is given about a certificate, and nothing else."),
    "remove": ("certs", "Remove a certificate; a pass takes it out of Valkey."),
    "list": ("certs", "List the certificates."),
    "show": ("certs", "Tell one certificate's story."),
    "enable": ("certs", "Take a disabled certificate up again."),
    "disable": ("certs", "Keep a certificate on the list without renewing or publishing it."),
    "import": ("importing", "Bring a certificate that knit did not order."),
    "plan": ("plan", "Tell what the next pass would do, and change nothing."),
    "why": ("why", "Tell why a certificate is as it is, and who has to act."),
    "budget": ("budget", "Tell what is left of the CA's limits."),
    "status": ("status", "Tell whether every node serves what is published."),
    "nodes": ("nodes", "Show the nodes that report, or forget one."),
    "renew": ("renew", "Renew what is due, again and again; or one certificate now."),
    "revoke": ("revoke", "Have a certificate's CA revoke it, after another is published or at once."),
    "watch": ("watch", "Keep this node's certificate files as Valkey has them."),
    "node": ("node", "Look after this node: print a systemd unit for it."),
    "prune": ("valkey", "Show or remove published values that no certificate explains."),
    "adopt-valkey": ("valkey", "Make the certificate Valkey this database's."),
    "issuers": ("issuers", "Show where certificates come from, or confirm a switch to another CA."),
    "ca": ("ca", "Make a CA of your own, and write its list of revoked certificates."),
    "account": ("account", "Mend the account at the CA."),
    "config": ("config", "Check what is set, and what each process would do with it."),
    "providers": ("providers", "List the DNS providers and the variables they read."),
    "dns": ("dns", "Check whether an order for a name would succeed."),
    "version": ("about", "Print the version."),
    "help": ("about", "Show help on knit or one of its commands."),
    "completion": ("about", "Print a script that makes the shell complete commands and options."),
}

WORDS = {"-v": "version", "-version": "version", "--version": "version", "-help": "--help"}
"""Spellings of the Go knit."""

ELSEWHERE = {
    "certificates": "list",
    "certonly": "renew",
    "create": "add",
    "delete": "remove",
    "edit": "set",
    "inspect": "show",
    "issue": "renew",
    "ls": "list",
    "obtain": "renew",
    "rm": "remove",
    "run": "renew",
    "update": "set",
}
"""What other tools call it."""


class App(click.Group):
    """`knit`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click; no arguments at all is wrong usage."""
        if not args and not ctx.resilient_parsing:
            raise click.UsageError("a command is needed: `knit -h` lists them", ctx)
        return super().parse_args(ctx, [WORDS.get(args[0], args[0]), *args[1:]] if args else args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        found: click.Command = getattr(import_module(f"knit.cli.{module}"), f"{cmd_name.replace('-', '_')}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click; an unknown word gets the nearest command as a suggestion."""
        if args[0] in COMMANDS or args[0].startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise unknown(args[0], ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: listing the commands imports none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def unknown(word: str, ctx: click.Context) -> click.UsageError:
    """The error for a word that is no command."""
    meant = ELSEWHERE.get(word.lower())
    return no_such("command", word, COMMANDS if meant is None else (meant,), ctx, sure=meant is not None)


app = App(
    name="knit",
    help=(
        "knit issues TLS certificates in one place and gets them served on every node. "
        "Settings come from KNIT_* environment variables; secrets are never arguments."
    ),
    epilog="`knit COMMAND -h` shows the options of one command. "
    "Exit codes: 0 done, 1 failed, 2 usage or configuration, 130 interrupted by Ctrl-C.",
    context_settings=ANSWERS_HELP,
    subcommand_metavar="COMMAND [OPTIONS]",
    options_metavar="",
)
