import type { IncomingMessage, ServerResponse } from "node:http";
import type { Hub } from "../core/hub.ts";
import type { Runtime } from "../internal/clock.ts";
import { plainHeaders } from "../wire/headers.ts";
import type { RunRegistry } from "../upstreams/runs/registry.ts";
import type { Door } from "./door.ts";
import { closeBehind } from "./last-answer.ts";
import type { Logger } from "./logger.ts";
import type { PublishQueue } from "./publish-queue.ts";

/** What every route works with. */
export interface Services {
  readonly hub: Hub;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly door: Door;
  readonly runs: RunRegistry;
  readonly publishes: PublishQueue;
  /** Reconnect delay before jitter, in milliseconds. */
  readonly retryMs: number;
  /** Body of an NDJSON batch, in bytes. */
  readonly batchBytesMax: number;
  readonly hasPlayground: boolean;
  isDraining(): boolean;
}

/** One request that has passed the guard. */
export interface Exchange {
  readonly services: Services;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly tenant: string;
  /** What the route's wildcard stands for, decoded. */
  readonly topic: string;
  /** The text behind `?`. */
  readonly query: string;
}

/** Base ±50 %, so that those who were cut together do not come back together. */
export function jitteredRetryMs({ retryMs, runtime }: Services): number {
  return Math.round(retryMs * (0.5 + runtime.random()));
}

export function answerJson(exchange: Exchange, status: number, value: object): void {
  const { response, services } = exchange;
  const body = `${JSON.stringify(value)}\n`;
  const headers = plainHeaders("1.1", "application/json");
  headers["Content-Length"] = String(Buffer.byteLength(body));
  if (services.isDraining()) closeBehind(response);
  response.writeHead(status, headers).end(body);
}
