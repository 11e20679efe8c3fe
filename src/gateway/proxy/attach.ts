import type { Connection } from "../../core/connection.ts";
import type { Opening } from "../../core/opening.ts";
import type { WireForm } from "../../core/publication.ts";
import { selectTopics } from "../../core/selection.ts";
import type { Start } from "../../core/start.ts";
import { isReadyForStream, openSseHttp1 } from "../../transports/sse-http1.ts";
import { jitteredRetryMs } from "../exchange.ts";
import type { Exchange } from "../exchange.ts";
import { randomId } from "../ids.ts";
import type { Control } from "./route.ts";

/** What a reader of a proxied stream is attached to. */
export interface Seat {
  /** The hidden tenant in which the topic lives. */
  readonly tenant: string;
  readonly topic: string;
  readonly start: Start;
  readonly control: Control;
  /** The reader can come back with its place: it may be rotated, and told to go by a drain. */
  readonly isResumable: boolean;
  /** Of the origin's head. */
  readonly headers: Readonly<Record<string, string>>;
  /** Only if nothing between `start` and the first event is missing. */
  readonly isExactOnly: boolean;
}

/**
 * What became of it. `attached`: the response is a stream now. `answered`: it got another answer, or its
 * client has gone. `trimmed`: `start` cannot be continued exactly, and nothing was written.
 */
export type Attached =
  | { readonly outcome: "attached"; readonly opening: Opening; readonly connection: Connection }
  | { readonly outcome: "answered" | "trimmed" };

/**
 * Makes the response of `exchange` a reader of a topic that an upstream response feeds. `onGone` is
 * called once, when the reader has gone or was not attached; also if this rejects.
 */
export async function attachReader(
  exchange: Exchange,
  seat: Seat,
  onGone: () => void,
): Promise<Attached> {
  const { request, response, services } = exchange;
  let isGone = false;
  const gone = (): void => {
    if (isGone) return;
    isGone = true;
    onGone();
  };
  const form: WireForm = seat.control === "comments" ? "quiet" : "plain";
  let opening: Opening;
  try {
    opening = await services.hub.subscribe({
      tenant: seat.tenant,
      selection: selectTopics([seat.topic]),
      form,
      start: seat.start,
      isResumable: seat.isResumable,
      onGone: gone,
    });
  } catch (error) {
    gone();
    throw error;
  }
  // Everything from here on is synchronous: what was read is what the prelude says.
  if (!request.socket.writable || !isReadyForStream(response)) {
    opening.abandon();
    return { outcome: "answered" };
  }
  if (services.isDraining() && seat.isResumable) {
    opening.abandon();
    services.door.refuseDraining(request, response, form === "quiet");
    return { outcome: "answered" };
  }
  if (opening.verdict === "finished") {
    // The one status that stops an EventSource for good.
    opening.abandon();
    response.writeHead(204, { "Cache-Control": "no-store", Vary: "Accept, Origin" }).end();
    return { outcome: "answered" };
  }
  if (opening.verdict === "gap" && seat.isExactOnly) {
    opening.abandon();
    return { outcome: "trimmed" };
  }
  let connection: Connection;
  try {
    const options = { id: randomId(), headers: seat.headers };
    connection = openSseHttp1(request, response, opening.subscriber, options);
  } catch (error) {
    opening.abandon();
    throw error;
  }
  try {
    opening.attach(connection, { retryMs: jitteredRetryMs(services), hasHello: false });
  } catch (error) {
    connection.abort("internal_error");
    throw error;
  }
  return { outcome: "attached", opening, connection };
}
