import type { IncomingMessage, ServerResponse } from "node:http";
import { plainHeaders } from "../../wire/headers.ts";

/** One request to the admin listener that has passed its checks. */
export interface AdminCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** What follows the route's path. */
  readonly rest: string;
  /** The text behind `?`. */
  readonly query: string;
}

export type AdminRoute = (call: AdminCall) => void | Promise<void>;

export function answerText(
  { request, response }: AdminCall,
  status: number,
  type: string,
  body: string,
): void {
  response.writeHead(status, {
    ...plainHeaders("1.1", type),
    "Content-Length": String(Buffer.byteLength(body)),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

export function answerJson(call: AdminCall, status: number, value: object): void {
  answerText(call, status, "application/json", `${JSON.stringify(value)}\n`);
}
