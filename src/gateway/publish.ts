import type { IncomingMessage, ServerResponse } from "node:http";
import type { Idempotency } from "../core/broker.ts";
import type { EventInput } from "../core/event.ts";
import { checkIdempotencyKey } from "../core/idempotency.ts";
import { checkTopicName } from "../core/topic-name.ts";
import { formatCursor } from "../wire/cursor.ts";
import { readBody } from "./body.ts";
import type { BodyLimit } from "./body.ts";
import { answerJson } from "./exchange.ts";
import type { Exchange, Services } from "./exchange.ts";
import { fingerprintOf } from "./ids.ts";
import { bodyKindOf } from "./media-type.ts";
import type { BodyKind } from "./media-type.ts";
import { checkJson, splitNdjson } from "./ndjson.ts";
import { beginPublish, endPublish } from "./publish-queue.ts";
import { parseQuery } from "./query.ts";
import { inTurn } from "./turns.ts";

const PARAMETERS = ["event", "key"];

/**
 * `POST /v1/topics/{topic}`. 201, or 200 for a duplicate, means that the events are in the log at the
 * durability that is named. With an error nothing was appended, but for `broker_unavailable`.
 */
export async function publish(exchange: Exchange): Promise<void> {
  const { request, response, services, tenant } = exchange;
  const topic = checkTopicName(exchange.topic);
  const query = parseQuery(exchange.query, PARAMETERS);
  const fields = { event: query.one("event"), key: query.one("key") };
  const kind = bodyKindOf(request);
  const key = idempotencyKeyOf(request);
  beginPublish(request.socket);
  response.on("close", onAnswered);
  const body = readInTurn(exchange, limitOf(kind, services));
  const receipt = await inTurn(request.socket, body, async (bytes) => {
    const events = eventsOf(kind, bytes, fields, services);
    const idempotency: Idempotency | undefined =
      key === undefined
        ? undefined
        : { key, fingerprint: fingerprintOf(fields.event ?? "", fields.key ?? "", kind, bytes) };
    return services.hub.publish({ tenant, topic, events, idempotency });
  });
  const { first, last, count, durability, isDuplicate } = receipt;
  const place =
    kind === "ndjson"
      ? {
          first: formatCursor(first.epoch, first.seq),
          last: formatCursor(last.epoch, last.seq),
          count,
        }
      : { id: formatCursor(last.epoch, last.seq) };
  const duplicate = isDuplicate ? { duplicate: true } : {};
  answerJson(exchange, isDuplicate ? 200 : 201, { ...place, durability, ...duplicate });
}

/** One listener for all: no closure is made for each publish. */
function onAnswered(this: ServerResponse): void {
  endPublish(this.req.socket);
}

async function readInTurn(exchange: Exchange, limit: BodyLimit): Promise<Uint8Array> {
  const { request, response, services, tenant } = exchange;
  const bytes = await readBody(request, response, limit);
  await services.publishes.turn(tenant, request.socket, bytes.length);
  return bytes;
}

type Fields = Omit<EventInput, "data">;

function limitOf(kind: BodyKind, { hub, batchBytesMax }: Services): BodyLimit {
  return kind === "ndjson"
    ? { bytesMax: batchBytesMax, code: "batch_too_large" }
    : { bytesMax: hub.eventBytesMax, code: "event_too_large" };
}

function eventsOf(
  kind: BodyKind,
  body: Uint8Array,
  fields: Fields,
  { hub }: Services,
): readonly EventInput[] {
  if (kind === "ndjson") {
    return splitNdjson(body, hub.eventBytesMax).map((data) => ({ ...fields, data }));
  }
  if (kind === "json") checkJson(body);
  return [{ ...fields, data: body }];
}

function idempotencyKeyOf(request: IncomingMessage): string | undefined {
  const key = request.headers["idempotency-key"];
  return key === undefined ? undefined : checkIdempotencyKey(key);
}
