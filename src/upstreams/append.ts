import type { AppendRequest, Receipt } from "../core/broker.ts";
import type { Hub } from "../core/hub.ts";

/**
 * Appends to the log, and tells one of the two what came of it: before it returns, where the log is at hand;
 * otherwise later, before the promise that it returns resolves. Neither throws nor rejects.
 */
export function append(
  hub: Hub,
  request: AppendRequest,
  onKept: (receipt: Receipt) => void,
  onRefused: (error: unknown) => void,
): Promise<void> | undefined {
  try {
    const receipt = hub.append(request);
    if (receipt instanceof Promise) return receipt.then(onKept, onRefused);
    onKept(receipt);
  } catch (error) {
    onRefused(error);
  }
  return undefined;
}
