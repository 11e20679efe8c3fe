import { SluiceError } from "../core/errors.ts";
import { ownerOf } from "../core/feed-tenant.ts";
import { refuseBody } from "./body.ts";
import { closeBehind } from "./last-answer.ts";
import type { Exchange } from "./exchange.ts";
import { parseQuery } from "./query.ts";

/**
 * `POST /v1/connections/{id}/ack`: 204 when a goodbye or a heartbeat of that connection was
 * acknowledged. A wrong id of any kind has one answer, also where the connection is another tenant's
 * (A08). What is not awaited changes nothing (A09): an ACK ends only what was told to end.
 *
 * The id is looked up in a Map and not compared in constant time: the table is keyed by a hash with a
 * secret seed of the process, so timing tells nothing of how much of a guess is right, and 128 random
 * bits cannot be tried.
 */
export function acknowledge(exchange: Exchange): void {
  const { request, response, services, tenant, topic: id } = exchange;
  const { hub } = services;
  parseQuery(exchange.query, []);
  refuseBody(request);
  const subscriber = hub.connection(id);
  if (subscriber === undefined || ownerOf(subscriber.tenant) !== tenant) {
    hub.metrics.add("sluice_acks_total", "unknown");
    throw new SluiceError("connection_unknown", "no open connection of yours has this id");
  }
  if (!subscriber.ack()) {
    hub.metrics.add("sluice_acks_total", "unexpected");
    throw new SluiceError("ack_unexpected", "nothing was sent on it that waits for an ACK");
  }
  hub.metrics.add("sluice_acks_total", "accepted");
  if (services.isDraining()) closeBehind(response);
  response.writeHead(204, { "Cache-Control": "no-store", Vary: "Accept, Origin" }).end();
}
