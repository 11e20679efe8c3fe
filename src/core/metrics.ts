/** One row registers a metric: exporters, docs and the type of its name come from it. No label ever names a topic, user, path or connection (law 25). */
export interface MetricRow {
  readonly type: "counter" | "gauge";
  readonly help: string;
  /** The one label, whose values come from a table of ours. */
  readonly label?: string;
}

export const METRICS = {
  sluice_publications_total: { type: "counter", help: "Events accepted into the log" },
  sluice_publication_bytes_total: { type: "counter", help: "Bytes of fields of accepted events" },
  sluice_publish_duplicates_total: {
    type: "counter",
    help: "Publishes answered with the receipt of an earlier one of the same idempotency key",
  },
  sluice_deliveries_total: { type: "counter", help: "Events written to connections" },
  sluice_delivery_bytes_total: {
    type: "counter",
    help: "Bytes of frames written to connections, heartbeats not counted",
  },
  sluice_writes_total: { type: "counter", help: "Batches written to connections" },
  sluice_subscribers: { type: "gauge", help: "Subscribers by state", label: "state" },
  sluice_subscriptions_total: {
    type: "counter",
    help: "Subscriptions opened, by the verdict on their cursor",
    label: "verdict",
  },
  sluice_lagged_total: {
    type: "counter",
    help: "Times that a live subscriber fell behind and went over to reading the log",
  },
  sluice_gaps_total: { type: "counter", help: "Gaps told to subscribers", label: "reason" },
  sluice_disconnects_total: {
    type: "counter",
    help: "Connections ended, by reason",
    label: "reason",
  },
  sluice_evicted_total: {
    type: "counter",
    help: "Connections taken away from clients that did not go by themselves, by reason",
    label: "reason",
  },
  sluice_connections: { type: "gauge", help: "Sockets open on the public listener" },
  sluice_connections_max: {
    type: "gauge",
    help: "Sockets that the public listener may have open: the capacity",
  },
  sluice_connections_opened_total: {
    type: "counter",
    help: "Sockets accepted on the public listener",
  },
  sluice_admitted_total: { type: "counter", help: "Subscriptions admitted" },
  sluice_admission_delayed_total: {
    type: "counter",
    help: "Subscriptions that waited in the queue of the token bucket before they were admitted",
  },
  sluice_admission_waiting: {
    type: "gauge",
    help: "Subscriptions that wait in the queue of the token bucket",
  },
  sluice_rejected_total: {
    type: "counter",
    help: "Subscriptions and connections refused, by why",
    label: "reason",
  },
  sluice_breaker_open: { type: "gauge", help: "1 while new subscriptions are refused, else 0" },
  sluice_breaker_opened_total: {
    type: "counter",
    help: "Times that the breaker opened, by what triggered it",
    label: "trigger",
  },
  sluice_loop_delay_seconds: {
    type: "gauge",
    help: "The longest delay of the event loop in the last sample, as the breaker sees it",
  },
  sluice_pending_bytes: {
    type: "gauge",
    help: "Bytes that wait in this process for slow connections",
  },
  sluice_pending_connections: { type: "gauge", help: "Connections that bytes wait for" },
  sluice_unacked_scans_total: {
    type: "counter",
    help: "Looks at the kernel's table of sockets for clients that acknowledge nothing",
  },
  sluice_unacked_suspects: {
    type: "gauge",
    help: "Connections that acknowledge nothing at the moment, and are not evicted yet",
  },
  sluice_acks_total: {
    type: "counter",
    help: "ACKs of clients, by what came of them",
    label: "outcome",
  },
  sluice_draining: { type: "gauge", help: "1 while the gateway drains, else 0" },
  sluice_drain_closed_total: {
    type: "counter",
    help: "Connections that a drain ended, by how",
    label: "how",
  },
  sluice_tls_errors_total: { type: "counter", help: "TLS handshakes that failed" },
  sluice_heartbeats_total: { type: "counter", help: "Heartbeats written" },
  sluice_bookmarks_total: { type: "counter", help: "Primers written to quiet connections" },
  sluice_flush_windows_total: { type: "counter", help: "Flush windows frozen" },
  sluice_flush_slices_total: {
    type: "counter",
    help: "Turns of the event loop that the flush used",
  },
  sluice_flush_overflows_total: {
    type: "counter",
    help: "Times that appending outran the flush, and its subscribers went over to reading the log",
  },
  sluice_log_reads_total: {
    type: "counter",
    help: "Reads of the log by joining or lagging subscribers",
  },
  sluice_log_read_errors_total: {
    type: "counter",
    help: "Reads of the log that the broker refused",
  },
  sluice_epoch_changes_total: {
    type: "counter",
    help: "Times that the broker's log became another one",
  },
  sluice_log_lines_dropped_total: {
    type: "counter",
    help: "Lines of the log that were dropped because nobody took them",
  },
  sluice_tenants: { type: "gauge", help: "Tenants that have subscribers" },
  sluice_routes: { type: "gauge", help: "Topics that have subscribers" },
  sluice_upstream_acquired_total: {
    type: "counter",
    help: "Sockets and HTTP/2 streams that upstream requests were given",
  },
  sluice_upstream_waits_total: {
    type: "counter",
    help: "Upstream requests that waited for a socket or stream",
  },
  sluice_upstream_wait_seconds_total: {
    type: "counter",
    help: "Seconds that upstream requests waited for a socket or stream",
  },
  sluice_upstream_rejected_total: {
    type: "counter",
    help: "Upstream requests refused before they were sent, by why",
    label: "reason",
  },
  sluice_upstream_evicted_total: {
    type: "counter",
    help: "Upstream sockets and sessions closed by the pool, by why",
    label: "reason",
  },
  sluice_upstream_opened_total: { type: "counter", help: "Upstream sockets and sessions opened" },
  sluice_upstream_sockets: {
    type: "gauge",
    help: "Upstream sockets and sessions by state",
    label: "state",
  },
  sluice_upstream_streams: { type: "gauge", help: "Upstream requests and responses under way" },
  sluice_upstream_waiting: {
    type: "gauge",
    help: "Upstream requests that wait for a socket or stream",
  },
  sluice_upstream_errors_total: {
    type: "counter",
    help: "Upstream requests and responses that failed, by code",
    label: "code",
  },
  sluice_upstream_double_releases_total: {
    type: "counter",
    help: "Times that a socket or stream was given back twice, which did nothing",
  },
  sluice_upstream_retries_total: {
    type: "counter",
    help: "Upstream requests sent again because an idle socket was closed at the moment of reuse",
  },
  sluice_upstream_circuit_opened_total: {
    type: "counter",
    help: "Times that the circuit of an origin opened",
  },
  sluice_upstream_reconnects_total: {
    type: "counter",
    help: "Reconnects of upstream streams that broke or ended, by what came of them",
    label: "outcome",
  },
  sluice_upstream_events_total: { type: "counter", help: "Events read from upstream streams" },
  sluice_upstream_events_dropped_total: {
    type: "counter",
    help: "Events of upstream streams that were not forwarded, by why",
    label: "reason",
  },
  sluice_feeds: { type: "gauge", help: "Upstream streams that readers share" },
  sluice_runs: { type: "gauge", help: "Runs that are kept, by state", label: "state" },
  sluice_runs_total: {
    type: "counter",
    help: "Runs that ended, by their terminal state",
    label: "outcome",
  },
  sluice_requests_rejected_total: {
    type: "counter",
    help: "Requests answered with an error, by code",
    label: "code",
  },
} as const satisfies Record<string, MetricRow>;

export type MetricName = keyof typeof METRICS;
type Labelled = {
  [Name in MetricName]: (typeof METRICS)[Name] extends { label: string } ? Name : never;
}[MetricName];
type Plain = Exclude<MetricName, Labelled>;

/**
 * The process's numbers. Hot paths add to plain properties; exporters copy them when asked, so that
 * a metric costs an addition and nothing else.
 */
export class Metrics {
  readonly plain: Record<Plain, number>;
  readonly #labelled = new Map<Labelled, Map<string, number>>();

  constructor() {
    const plain: Partial<Record<Plain, number>> = {};
    for (const [name, row] of Object.entries(METRICS) as [MetricName, MetricRow][]) {
      if (row.label === undefined) plain[name as Plain] = 0;
      else this.#labelled.set(name as Labelled, new Map());
    }
    this.plain = plain as Record<Plain, number>;
  }

  add(name: Labelled, label: string, by = 1): void {
    const values = this.#labelled.get(name) as Map<string, number>;
    values.set(label, (values.get(label) ?? 0) + by);
  }

  get(name: Labelled, label: string): number {
    return this.#labelled.get(name)?.get(label) ?? 0;
  }

  /** Every value now; `label` is undefined for metrics without one. */
  *samples(): Generator<{ name: MetricName; label: string | undefined; value: number }> {
    for (const [name, value] of Object.entries(this.plain)) {
      yield { name: name as MetricName, label: undefined, value };
    }
    for (const [name, values] of this.#labelled) {
      for (const [label, value] of values) yield { name, label, value };
    }
  }
}
