import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface Stub {
  readonly url: string;
  /** The requests that have come, oldest first. */
  readonly requests: readonly IncomingMessage[];
}

export type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** A server that gives each request the next answer; the last one stays. */
export async function startStub(...answers: readonly Answer[]): Promise<Stub> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    request.resume();
    answers[Math.min(requests.length, answers.length) - 1]?.(response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

/** An event stream of `text`, which ends, or stays open. */
export function stream(
  text: string,
  { ends = true, headers = {} }: { ends?: boolean; headers?: Record<string, string> } = {},
): Answer {
  return (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", ...headers }).flushHeaders();
    if (text !== "") response.write(text);
    if (ends) response.end();
  };
}

export function status(code: number, headers: Record<string, string> = {}, body = ""): Answer {
  return (response) => {
    response.writeHead(code, headers).end(body);
  };
}

export function problem(code: number, document: object): Answer {
  return status(code, { "Content-Type": "application/problem+json" }, JSON.stringify(document));
}
