"""Sending one alert through one channel, once: it was taken, or `NotDelivered` says why not."""

from __future__ import annotations

import time
from collections.abc import Callable

from promptguard.alerts import payloads
from promptguard.alerts.message import Alert, text, title
from promptguard.core.options import Alertmanager, Apprise, Channel, Slack, Webhook
from promptguard.errors import MissingExtra
from promptguard.http.posting import PostFailed, post


class NotDelivered(Exception):  # noqa: N818 - what happened
    """The channel did not take it; the message holds neither address, answer nor secret."""


def send(channel: Channel, alert: Alert, wall: Callable[[], float] = time.time) -> None:
    """Send `alert` through `channel`, within about ten seconds; `wall` gives seconds since the Unix epoch.

    Raises NotDelivered.
    """
    if isinstance(channel, Apprise):
        _by_apprise(channel, alert)
        return
    headers = {"content-type": "application/json"}
    url = channel.address
    if isinstance(channel, Webhook):
        body = payloads.webhook(alert, channel.label)
        headers = payloads.signed(body, alert.message_id, int(time.time()), channel.clear("secret"))
    elif isinstance(channel, Alertmanager):
        body = payloads.alertmanager(alert, wall())
        url = f"{url.rstrip('/')}/api/v2/alerts"
    elif isinstance(channel, Slack):
        body = payloads.slack(alert)
    else:
        raise NotDelivered(f"nothing is known of channels like {type(channel).__name__}")
    token = channel.clear("token")
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    try:
        post(url, body, headers, allow_private=channel.allow_private)
    except PostFailed as error:
        raise NotDelivered(str(error)) from None


def check_installed(channels: tuple[Channel, ...]) -> None:
    """Raise MissingExtra where a channel needs a package that is not there."""
    if any(isinstance(each, Apprise) for each in channels):
        _apprise()


def _apprise() -> type:
    try:
        from apprise import Apprise as Services
    except ImportError:
        raise MissingExtra(
            "Apprise(...) needs the package apprise: pip install 'promptguard-shadow[alerts]'"
        ) from None
    found: type = Services
    return found


def _by_apprise(channel: Apprise, alert: Alert) -> None:
    services = _apprise()()
    if not services.add(channel.address):
        raise NotDelivered("apprise does not know this kind of address")
    try:
        taken = services.notify(title=title(alert), body=text(alert))
    except Exception as error:  # noqa: BLE001 - plugins raise what their libraries do
        raise NotDelivered(f"apprise: {type(error).__name__}") from None
    if not taken:
        raise NotDelivered("apprise could not deliver it; its own log says why")
