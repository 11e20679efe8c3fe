import type { PoolStatus } from "../../upstreams/pool/status.ts";
import { parseQuery } from "../query.ts";
import { answerJson } from "./call.ts";
import type { AdminRoute } from "./call.ts";

/** `GET /pool`: the sockets and streams to each origin. Nothing is proxied: no origins. */
export function showPool(status: () => PoolStatus | undefined): AdminRoute {
  return (call) => {
    parseQuery(call.query, []);
    answerJson(call, 200, status() ?? { origins: [] });
  };
}
