"""Where what lies in the frames of a message (AMQP 0-9-1, 2.3.5 and 4.2).

The flags say which properties of a content there are; those lie in the order of their flags.
"""

from struct import Struct

from pika.spec import BasicProperties

LONG = Struct(">L")
TIME = Struct(">Q")
FRAME = Struct(">BHL")  # type, channel, size of the payload
SIZE_AT = 3  # in a frame
TAG = Struct(">QB")  # of a delivery, and whether it was delivered before
CONTENT = Struct(">BHLHHQH")  # a content header's frame: then class, weight, body's size, flags
CONTENT_FIELDS = 14  # bytes of a content header before its properties
FLAGS = Struct(">H")
CONTENT_TYPE = BasicProperties.FLAG_CONTENT_TYPE
HEADERS = BasicProperties.FLAG_HEADERS
DELIVERY_MODE = BasicProperties.FLAG_DELIVERY_MODE
MESSAGE_ID = BasicProperties.FLAG_MESSAGE_ID
TIMESTAMP = BasicProperties.FLAG_TIMESTAMP
TYPE = BasicProperties.FLAG_TYPE
CONTENT_ENCODING = BasicProperties.FLAG_CONTENT_ENCODING
PRIORITY = BasicProperties.FLAG_PRIORITY
# Short strings for others than us, between the priority and the message's id, and after the type.
ADDRESSES = {
    "correlation_id": BasicProperties.FLAG_CORRELATION_ID,
    "reply_to": BasicProperties.FLAG_REPLY_TO,
    "expiration": BasicProperties.FLAG_EXPIRATION,
}
SENDERS = {
    "user_id": BasicProperties.FLAG_USER_ID,
    "app_id": BasicProperties.FLAG_APP_ID,
    "cluster_id": BasicProperties.FLAG_CLUSTER_ID,
}
ADDRESSES_SET, SENDERS_SET = sum(ADDRESSES.values()), sum(SENDERS.values())
OURS = CONTENT_TYPE | HEADERS | DELIVERY_MODE | MESSAGE_ID | TIMESTAMP | TYPE  # of our events
KNOWN = OURS | CONTENT_ENCODING | PRIORITY | ADDRESSES_SET | SENDERS_SET
TEXT = b"S"  # a long string, in a table
