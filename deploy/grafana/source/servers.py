"""How are RabbitMQ and Postgres? By their own exporters."""

from deploy.grafana.source.board import BAD, WARN, Board, Query, Row, Shown

_RATE = "[$__rate_interval]"
_OURS = r'queue=~"hitl\\..+"'
_DATABASE = 'datname!~"template.*|postgres"'

BOARD = Board(
    uid="hitl-servers",
    title="Broker and database",
    description="RabbitMQ and Postgres as they see themselves.",
    rows=(
        Row(
            "RabbitMQ",
            (
                Shown(
                    "Alarms",
                    "Memory or disk: while one is on, publishers are blocked. Nothing is lost, and "
                    "nothing moves.",
                    (
                        Query("max(rabbitmq_alarms_memory_used_watermark)", "memory"),
                        Query("max(rabbitmq_alarms_free_disk_space_watermark)", "disk"),
                    ),
                    kind="stat", width=6, height=6, limits=((1, BAD),),
                ),
                Shown(
                    "Memory",
                    "Of the node, as a share of what it may take.",
                    (
                        Query(
                            "max(rabbitmq_process_resident_memory_bytes"
                            " / rabbitmq_resident_memory_limit_bytes)",
                            "memory",
                        ),
                    ),
                    unit="percentunit", kind="stat", width=6, height=6,
                    limits=((0.7, WARN), (0.95, BAD)),
                ),
                Shown(
                    "Free disk",
                    "On the node's disk; below its limit publishers are blocked.",
                    (Query("min(rabbitmq_disk_space_available_bytes)", "free"),),
                    unit="bytes", kind="stat", width=6, height=6,
                ),
                Shown(
                    "Connections",
                    "Open connections and channels; each of our programs holds a few for good.",
                    (
                        Query("sum(rabbitmq_connections)", "connections"),
                        Query("sum(rabbitmq_channels)", "channels"),
                    ),
                    kind="stat", width=6, height=6,
                ),
                Shown(
                    "Ready",
                    "Messages that wait, by queue.",
                    (
                        Query(
                            f"sum by (queue) (rabbitmq_queue_messages_ready{{{_OURS}}})",
                            "{{queue}}",
                        ),
                    ),
                ),
                Shown(
                    "Unacknowledged",
                    "Messages in a consumer's hands, by queue.",
                    (
                        Query(
                            f"sum by (queue) (rabbitmq_queue_messages_unacked{{{_OURS}}})",
                            "{{queue}}",
                        ),
                    ),
                ),
                Shown(
                    "Consumers",
                    "By queue. A queue of ours without one stands still; .accepted is yours to "
                    "consume.",
                    (
                        Query(
                            f"sum by (queue) (rabbitmq_queue_consumers{{{_OURS}, "
                            r'queue!~".+\\.(dlq|retry\\..+)"})',
                            "{{queue}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Postgres",
            (
                Shown(
                    "Answers",
                    "1 while the exporter can ask Postgres.",
                    (Query("min(pg_up)", "up"),),
                    kind="stat", width=6, height=6, first=BAD, limits=((1, "green"),),
                ),
                Shown(
                    "Size",
                    "Of the database on disk.",
                    (Query(f"sum(pg_database_size_bytes{{{_DATABASE}}})", "size"),),
                    unit="bytes", kind="stat", width=6, height=6,
                ),
                Shown(
                    "Connections",
                    "In use, as a share of those that Postgres allows.",
                    (
                        Query(
                            "sum(pg_stat_database_numbackends) / max(pg_settings_max_connections)",
                            "in use",
                        ),
                    ),
                    unit="percentunit", kind="stat", width=6, height=6,
                    limits=((0.7, WARN), (0.9, BAD)),
                ),
                Shown(
                    "Read from memory",
                    "Share of blocks found in Postgres' cache.",
                    (
                        Query(
                            f"sum(rate(pg_stat_database_blks_hit{{{_DATABASE}}}{_RATE}))"
                            f" / (sum(rate(pg_stat_database_blks_hit{{{_DATABASE}}}{_RATE}))"
                            f" + sum(rate(pg_stat_database_blks_read{{{_DATABASE}}}{_RATE})))",
                            "hits",
                        ),
                    ),
                    unit="percentunit", kind="stat", width=6, height=6, most=1,
                ),
                Shown(
                    "Transactions",
                    "A second: committed and rolled back.",
                    (
                        Query(
                            f"sum(rate(pg_stat_database_xact_commit{{{_DATABASE}}}{_RATE}))",
                            "committed",
                        ),
                        Query(
                            f"sum(rate(pg_stat_database_xact_rollback{{{_DATABASE}}}{_RATE}))",
                            "rolled back",
                        ),
                    ),
                    unit="ops",
                ),
                Shown(
                    "Rows changed",
                    "A second, in all tables.",
                    tuple(
                        Query(
                            f"sum(rate(pg_stat_database_tup_{what}{{{_DATABASE}}}{_RATE}))", what
                        )
                        for what in ("inserted", "updated", "deleted")
                    ),
                    unit="ops",
                ),
                Shown(
                    "Trouble",
                    "Deadlocks and conflicts a minute: none is expected.",
                    (
                        Query(
                            f"sum(rate(pg_stat_database_deadlocks{{{_DATABASE}}}{_RATE})) * 60",
                            "deadlocks",
                        ),
                        Query(
                            f"sum(rate(pg_stat_database_conflicts{{{_DATABASE}}}{_RATE})) * 60",
                            "conflicts",
                        ),
                    ),
                    limits=((1, BAD),),
                ),
            ),
        ),
    ),
)  # fmt: skip
