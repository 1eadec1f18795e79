"""The RabbitMQ of the rig carries messages."""

from __future__ import annotations

from contextlib import closing

import pika


def test_a_message_comes_back_from_rabbitmq(amqp_url: str) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
        channel = connection.channel()
        channel.queue_declare("rig", exclusive=True)
        channel.basic_publish("", "rig", b"hello")
        _, _, body = channel.basic_get("rig", auto_ack=True)
    assert body == b"hello"
