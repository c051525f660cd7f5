"""Channels: the ways in which people are told. One module per kind, all with the same face."""

from activities.channels.message import (
    Attachment,
    Channel,
    ChannelBusy,
    ChannelRefused,
    ChannelUnavailable,
    Message,
)

__all__ = ["Attachment", "Channel", "ChannelBusy", "ChannelRefused", "ChannelUnavailable", "Message"]
