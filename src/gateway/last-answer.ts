import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { holdForEver } from "./held.ts";

const kNumber = Symbol("sluice.requestNumber");
type NumberedSocket = Socket & { [kNumber]?: number };
type NumberedResponse = ServerResponse & { [kNumber]?: number };

/** Counts the requests of a connection, so that the last one is known. Once for each, when it comes. */
export function numberRequest(request: IncomingMessage, response: ServerResponse): void {
  const socket = request.socket as NumberedSocket;
  const number = (socket[kNumber] ?? 0) + 1;
  socket[kNumber] = number;
  (response as NumberedResponse)[kNumber] = number;
}

/**
 * Makes the answer that is about to be written its connection's last: it says `Connection: close`,
 * and nothing that comes behind it is done (RFC 9112, 9.6). Not while a later request waits: that one
 * may have been done already, and its answer will be the last.
 */
export function closeBehind(response: ServerResponse): void {
  const { socket } = response.req;
  const isLast = (response as NumberedResponse)[kNumber] === (socket as NumberedSocket)[kNumber];
  if (!isLast || response.headersSent) return;
  response.setHeader("Connection", "close");
  holdForEver(socket);
}
