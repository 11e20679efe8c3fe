import { routeRuleSchema } from "../../src/gateway/config/route-rule.ts";
import { table } from "./generated.ts";
import { leavesOf } from "./topic-docs.ts";

/** What stands in for a value that has no default of its own. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  match: "required",
  to: "`upstream`",
  "headers.allow": "all but hop-by-hop",
  runTtl: "`runs.ttl`",
};

/** The settings of a route, from the schema that rules are read by. */
export function routeDocs(): string {
  const rows = leavesOf(routeRuleSchema, []).map(({ key, accepted, meaning, defaultValue }) => {
    const value =
      ELSEWHERE[key] ?? (typeof defaultValue === "string" ? `\`${defaultValue}\`` : undefined);
    if (value === undefined) throw new Error(`no default is known for the route setting ${key}`);
    return [`\`${key}\``, value, accepted, meaning];
  });
  return table(["setting", "default", "accepted", "meaning"], rows);
}
