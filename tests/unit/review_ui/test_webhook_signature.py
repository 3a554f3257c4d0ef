"""Would a receiver who knows the specification take our signatures; where is nothing sent?"""

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest

from services.review_ui.webhooks.post import BadAddress, checked_url, refusal
from services.review_ui.webhooks.sign import new_secret, signature_headers

ROOT = Path(__file__).parents[3]
# The example in the specification's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, SENT_AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def documented() -> Any:
    """The receiver's function in docs/produce/webhooks.md."""
    page = (ROOT / "docs/produce/webhooks.md").read_text(encoding="utf-8")
    [source] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102  # it is our own page
    return names["verified"]


def test_a_signature_is_the_one_that_the_specification_gives() -> None:
    made = signature_headers(ID, SENT_AT, BODY, [SECRET])
    assert made == {
        "webhook-id": ID,
        "webhook-timestamp": str(SENT_AT),
        "webhook-signature": SIGNATURE,
    }
    # With two keys the receiver finds both, in one header.
    both = signature_headers(ID, SENT_AT, BODY, [new_secret(), SECRET])["webhook-signature"].split(
        " "
    )
    assert len(both) == 2
    assert both[1] == SIGNATURE


def test_the_receiver_in_the_documents_takes_what_is_ours_and_nothing_else() -> None:
    verified = documented()
    given = signature_headers(ID, SENT_AT, BODY, [new_secret(), SECRET])
    # Given what we send, I expect the content;
    assert verified(given, BODY, SECRET, now=SENT_AT + 10) == {"test": 2432232314}
    # with another body, secret or id, or too late, an error.
    for wrong in (
        (given, BODY + b" ", SECRET, SENT_AT),
        (given, BODY, new_secret(), SENT_AT),
        (given | {"webhook-id": "another"}, BODY, SECRET, SENT_AT),
        (given | {"webhook-signature": "v1,"}, BODY, SECRET, SENT_AT),
        (given, BODY, SECRET, SENT_AT + 301),
        (given, BODY, SECRET, SENT_AT - 301),
    ):
        *arguments, now = wrong
        with pytest.raises(ValueError, match=r"signature|old"):
            verified(*arguments, now=now)


def test_secrets_are_long_and_never_the_same() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", new_secret())


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_the_world_may_be_sent_to(address: str) -> None:
    for private in (True, False):
        assert refusal(ipaddress.ip_address(address), private=private) is None


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "fec0::1"),
    ],
)
def test_this_host_and_its_network_only_where_the_settings_say_so(address: str) -> None:
    assert "HITL_WEBHOOK_PRIVATE" in str(refusal(ipaddress.ip_address(address), private=False))
    assert refusal(ipaddress.ip_address(address), private=True) is None


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "::"),  # noqa: S104
        *("224.0.0.1", "255.255.255.255", "ff02::1", "2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe"),
        *("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    ],
)
def test_where_clouds_keep_their_credentials_nothing_is_ever_sent(address: str) -> None:
    for private in (True, False):
        assert refusal(ipaddress.ip_address(address), private=private) is not None


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/", "file:///etc/passwd", "example.com", "https://", "http://[::1"),
        *("http://user:secret@example.com/", "http://user@example.com/", "http://:80/", ""),
        *("http://example.com:99999/", "http://exa mple.com/", "http://example.com/\r\nX: y"),
        *(
            "http://127.0.0.1/",
            "http://[::1]:8080/",
            "http://169.254.169.254/",
            "http://ä.example/",
        ),
    ],
)
def test_a_url_that_is_none_or_leads_inside_is_refused(url: str) -> None:
    with pytest.raises(BadAddress):
        checked_url(url, private=False)
