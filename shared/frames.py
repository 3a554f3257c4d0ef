"""Where does what lie in the frames of a message? (AMQP 0-9-1, 2.3.5 and 4.2)

Of the properties of a content, those are known that our own messages have.
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
KNOWN = CONTENT_TYPE | HEADERS | DELIVERY_MODE | MESSAGE_ID | TIMESTAMP | TYPE
TEXT = b"S"  # a long string, in a table
