import type { DrainProgress, DrainReport } from "../../core/drain.ts";
import { plainHeaders } from "../../wire/headers.ts";
import { refuseBody } from "../body.ts";
import { parseQuery } from "../query.ts";
import { answerJson } from "./call.ts";
import type { AdminRoute } from "./call.ts";

/** What the admin listener can do about a drain. */
export interface DrainControl {
  progress(): DrainProgress;
  /** Starts it, or finds it running. */
  start(): Promise<DrainReport>;
}

/** Between two lines of progress, in milliseconds. */
const REPORT_MS = 500;

/** `GET /drain`: how far it is; `serving` before it has begun. */
export function showDrain(control: DrainControl): AdminRoute {
  return (call) => {
    parseQuery(call.query, []);
    answerJson(call, 200, control.progress());
  };
}

/**
 * `POST /drain`: 202 once it has begun, or had. With `wait=1` the answer lasts as long as the drain: a line
 * of JSON each half second, and at the end one with `isForced` and `durationMs`.
 */
export function startDrain(control: DrainControl): AdminRoute {
  return async (call) => {
    refuseBody(call.request);
    const hasToWait = parseQuery(call.query, ["wait"]).oneOf("wait", ["0", "1"]) === "1";
    const report = control.start();
    if (!hasToWait) return answerJson(call, 202, control.progress());
    const { response } = call;
    const say = (line: object): void => void response.write(`${JSON.stringify(line)}\n`);
    response.writeHead(202, plainHeaders("1.1", "application/x-ndjson"));
    say(control.progress());
    const timer = setInterval(() => say(control.progress()), REPORT_MS);
    response.once("close", () => clearInterval(timer));
    const { isForced, durationMs } = await report;
    clearInterval(timer);
    say({ ...control.progress(), isForced, durationMs });
    response.end();
  };
}
