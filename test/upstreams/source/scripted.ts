// A source over answers that a test makes, in virtual time. Bodies are real streams; the pool is not there.
import { Readable } from "node:stream";
import { onTestFinished } from "vitest";
import { Metrics } from "../../../src/core/metrics.ts";
import { VirtualRuntime } from "../../../src/testing/virtual-runtime.ts";
import type { UpstreamRequest, UpstreamResponse } from "../../../src/upstreams/message.ts";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import { openSource } from "../../../src/upstreams/source/source.ts";
import type { Source, SourceEvent, SourceOptions } from "../../../src/upstreams/source/source.ts";

export interface Scripted {
  readonly source: Source;
  readonly runtime: VirtualRuntime;
  readonly metrics: Metrics;
  /** What has been asked for, and the body that answered it. */
  readonly asked: readonly { readonly request: UpstreamRequest; readonly body: Readable }[];
  readonly events: SourceEvent[];
  readonly resumes: boolean[];
}

export interface Script {
  /** What comes of the answer `index`; none of them ends by itself. */
  readonly answer: (body: Readable, index: number) => void;
  readonly event?: (event: SourceEvent) => void | Promise<void>;
  readonly options?: SourceOptions;
}

export function runScript({ answer, event, options }: Script): Scripted {
  const runtime = new VirtualRuntime();
  const metrics = new Metrics();
  const asked: { request: UpstreamRequest; body: Readable }[] = [];
  const events: SourceEvent[] = [];
  const resumes: boolean[] = [];
  const source = openSource({
    pool: {
      async request(request): Promise<UpstreamResponse> {
        const body = new Readable({ read: () => {} });
        asked.push({ request, body });
        answer(body, asked.length - 1);
        const headers = [["content-type", "text/event-stream"]] as const;
        return { status: 200, headers, httpVersion: "1.1", body };
      },
    },
    request: {
      origin: parseOrigin("http://127.0.0.1:1", { isNamed: true }),
      method: "GET",
      path: "/",
      headers: [],
      tenant: "default",
    },
    sink: {
      event(each) {
        events.push(each);
        return event?.(each);
      },
      reconnected: (isResumed) => void resumes.push(isResumed),
    },
    runtime,
    metrics,
    options: { isResumable: true, ...options },
  });
  onTestFinished(() => source.stop());
  return { source, runtime, metrics, asked, events, resumes };
}

export function lastEventIdOf({ headers }: UpstreamRequest): string | undefined {
  return headers.find(([name]) => name === "last-event-id")?.[1];
}
