"""A RabbitMQ server of our own. It takes seconds to start and 150 MB: one for a whole session is enough."""

from __future__ import annotations

import os
import shutil

import pika
import pika.exceptions

from rig import binaries
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process, accepts

# Debian's own `erl` only knows its installed place.
ERL = """\
#!/bin/sh
export EMU=beam ROOTDIR={erlang} BINDIR={runtime} PROGNAME=erl
exec {runtime}/erlexec "$@"
"""
SETTINGS = """\
listeners.tcp.1 = 127.0.0.1:{port}
log.console = true
log.file = false
disk_free_limit.absolute = 1MB
"""


class RabbitMQ:
    """One server in a temporary directory, with RabbitMQ's own default account. `start` first; `close` removes it."""

    def __init__(self) -> None:
        self.port, self._names_port = free_port(), free_port()
        self._home = temporary_directory("rabbitmq")
        self._programs = binaries.rabbitmq()
        self._write_files()
        # Erlang's name server would make itself a daemon of the whole machine if nobody ran one on this port.
        self._names = Process(
            name="epmd",
            command=[f"{self._programs.runtime}/epmd", "-address", "127.0.0.1", "-port", str(self._names_port)],
            output=self._home / "epmd.log",
        )
        self.process = Process(
            name="rabbitmq",
            command=[self._programs.server],
            output=self._home / "log",
            environment=self._environment(),
            directory=self._home,
        )

    @property
    def url(self) -> str:
        """The AMQP URL."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Run it until a client can log in."""
        if not self._names.is_running():
            self._names.start(lambda: accepts(self._names_port))
        self.process.start(self._answers, seconds=60)

    def stop(self) -> None:
        """Shut down in order; durable queues are kept."""
        self.process.stop(seconds=30)

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()

    def restart(self) -> None:
        """Stop and start on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.process.kill()
        self._names.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _answers(self) -> bool:
        if not accepts(self.port):
            return False
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except pika.exceptions.AMQPError:
            return False
        return True

    def _write_files(self) -> None:
        programs = self._home / "bin"
        programs.mkdir()
        erl = programs / "erl"
        erl.write_text(ERL.format(erlang=self._programs.erlang, runtime=self._programs.runtime))
        erl.chmod(0o755)
        (self._home / "rabbitmq.conf").write_text(SETTINGS.format(port=self.port))

    def _environment(self) -> dict[str, str]:
        home = str(self._home)
        return {
            **self._programs.environment,
            "HOME": home,
            "PATH": f"{home}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_CONF_ENV_FILE": f"{home}/none",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_MNESIA_BASE": f"{home}/data",
            "RABBITMQ_NODENAME": "rig@localhost",
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
