/* What can a C program do with the router's traffic? It decides nothing: it copies each message from
 * the router's queue to hitl.events, waits for the confirm, and then acks (cumulative, in windows).
 * usage: copy HOST PORT USER PASSWORD VHOST QUEUE EXCHANGE ROUTING_KEY; runs until it is killed. */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { PREFETCH = 1000, ACK_EVERY = 100, RING = 1 << 16 };

static void check(int ok, const char *what) {
  if (!ok) {
    fprintf(stderr, "copy: %s failed\n", what);
    exit(1);
  }
}

static void check_rpc(amqp_connection_state_t connection, const char *what) {
  check(amqp_get_rpc_reply(connection).reply_type == AMQP_RESPONSE_NORMAL, what);
}

int main(int count, char **given) {
  static uint64_t tags[RING]; /* publish sequence number -> delivery tag */
  static char confirmed[RING];
  uint64_t published = 0, settled = 0, acked = 0;
  check(count == 9, "reading eight arguments");
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(connection);
  check(socket && amqp_socket_open(socket, given[1], atoi(given[2])) == AMQP_STATUS_OK, "connecting");
  check(amqp_login(connection, given[5], 0, 131072, 30, AMQP_SASL_METHOD_PLAIN, given[3], given[4])
                .reply_type == AMQP_RESPONSE_NORMAL, "logging in");
  amqp_channel_open(connection, 1);
  check_rpc(connection, "opening channel 1");
  amqp_channel_open(connection, 2);
  check_rpc(connection, "opening channel 2");
  amqp_confirm_select(connection, 2);
  check_rpc(connection, "confirm.select");
  amqp_basic_qos(connection, 1, 0, PREFETCH, 0);
  check_rpc(connection, "basic.qos");
  amqp_basic_consume(connection, 1, amqp_cstring_bytes(given[6]), amqp_empty_bytes, 0, 0, 0,
                     amqp_empty_table);
  check_rpc(connection, "basic.consume");

  for (;;) {
    amqp_envelope_t envelope;
    struct timeval patience = {0, 20000};
    amqp_maybe_release_buffers(connection);
    amqp_rpc_reply_t reply = amqp_consume_message(connection, &envelope, &patience, 0);
    int idle = 0;
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
      amqp_basic_properties_t properties = envelope.message.properties;
      properties._flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
      properties.delivery_mode = 2;
      check(amqp_basic_publish(connection, 2, amqp_cstring_bytes(given[7]),
                               amqp_cstring_bytes(given[8]), 1, 0, &properties,
                               envelope.message.body) == AMQP_STATUS_OK, "publishing");
      published++;
      tags[published % RING] = envelope.delivery_tag;
      confirmed[published % RING] = 0;
      amqp_destroy_envelope(&envelope);
    } else if (reply.library_error == AMQP_STATUS_UNEXPECTED_STATE) {
      amqp_frame_t frame;
      check(amqp_simple_wait_frame(connection, &frame) == AMQP_STATUS_OK, "reading a frame");
      check(frame.frame_type == AMQP_FRAME_METHOD
                && frame.payload.method.id == AMQP_BASIC_ACK_METHOD, "getting only confirms");
      amqp_basic_ack_t *ack = frame.payload.method.decoded;
      for (uint64_t n = ack->multiple ? settled + 1 : ack->delivery_tag; n <= ack->delivery_tag; n++)
        confirmed[n % RING] = 1;
      while (settled < published && confirmed[(settled + 1) % RING]) settled++;
    } else {
      check(reply.library_error == AMQP_STATUS_TIMEOUT, "consuming");
      idle = 1;
    }
    if (settled > acked && (idle || settled - acked >= ACK_EVERY)) {
      check(amqp_basic_ack(connection, 1, tags[settled % RING], 1) == 0, "acking");
      acked = settled;
    }
  }
}
