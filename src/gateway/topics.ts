import { SluiceError } from "../core/errors.ts";
import type { TopicSettingsInput } from "../core/settings.ts";
import { checkTopicName } from "../core/topic-name.ts";
import { formatCursor } from "../wire/cursor.ts";
import { readBody, refuseBody } from "./body.ts";
import { readTopicSettings } from "./config/topic-settings.ts";
import { answerJson } from "./exchange.ts";
import type { Exchange } from "./exchange.ts";
import { closeBehind } from "./last-answer.ts";
import { bodyKindOf } from "./media-type.ts";
import { decodeUtf8, parseJson } from "./ndjson.ts";
import { parseQuery } from "./query.ts";
import { inTurn } from "./turns.ts";

const SETTINGS_BYTES_MAX = 64 * 1024;

/** `PUT /v1/topics/{topic}`: 204 when the settings hold, and the topic is open if it had ended. */
export async function declareTopic(exchange: Exchange): Promise<void> {
  const { request, response, services, tenant } = exchange;
  const topic = checkTopicName(exchange.topic);
  parseQuery(exchange.query, []);
  const limit = { bytesMax: SETTINGS_BYTES_MAX, code: "settings_invalid" } as const;
  const kind = bodyKindOf(request);
  const body = readBody(request, response, limit);
  await inTurn(request.socket, body, async (bytes) => {
    if (bytes.length > 0 && kind !== "json") {
      throw new SluiceError("media_type_unsupported", "settings are application/json");
    }
    await services.hub.declare(tenant, topic, settingsOf(bytes));
  });
  if (services.isDraining()) closeBehind(response);
  response.writeHead(204, { "Cache-Control": "no-store", Vary: "Accept, Origin" }).end();
}

/** `DELETE /v1/topics/{topic}`: the topic has ended; the id is that of its `end`. */
export async function deleteTopic(exchange: Exchange): Promise<void> {
  const { request, services, tenant } = exchange;
  const topic = checkTopicName(exchange.topic);
  parseQuery(exchange.query, []);
  refuseBody(request);
  const { last, durability } = await inTurn(request.socket, Promise.resolve(), () =>
    services.hub.end(tenant, topic, "deleted"),
  );
  answerJson(exchange, 200, { id: formatCursor(last.epoch, last.seq), durability });
}

function settingsOf(body: Uint8Array): TopicSettingsInput {
  if (body.length === 0) return {};
  return readTopicSettings(parseJson(decodeUtf8(body), "the body"));
}
