import { answerJson, answerText } from "./call.ts";
import type { AdminRoute } from "./call.ts";

export interface Health {
  /** False from the first moment of a drain on. */
  readonly isReady: () => boolean;
  /** The process is in trouble for now: the loop is late, or memory is short. @defaultValue never */
  readonly isOverloaded?: () => boolean;
}

/** `GET /livez`: the process answers. */
export const showLife: AdminRoute = (call) =>
  answerText(call, 200, "text/plain; charset=utf-8", "ok\n");

/** `GET /readyz`: it should be sent traffic. */
export function showReadiness({ isReady, isOverloaded }: Health): AdminRoute {
  return (call) => {
    if (!isReady()) answerJson(call, 503, { status: "draining", reason: "pool_draining" });
    else if (isOverloaded?.() === true)
      answerJson(call, 503, { status: "overloaded", reason: "overloaded" });
    else answerJson(call, 200, { status: "ready" });
  };
}
