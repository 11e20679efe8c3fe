import { expect, test } from "vitest";
import { load, problemsOf } from "./support.ts";

test("R04 a window shorter than what the front reuses is warned of at the start", () => {
  const { warnings } = load({ yaml: "keepAlive: { front: alb, timeout: 50s }" });
  expect(warnings).toEqual([
    "keepAlive.timeout is 50s, but alb reuses connections that idled for up to 1m: requests will fail with 502; set 0, which is 75s for alb",
  ]);
  for (const fine of ["{ front: alb }", "{ front: alb, timeout: 61s }", "{ timeout: 5s }"]) {
    expect(load({ yaml: `keepAlive: ${fine}` }).warnings, fine).toEqual([]);
  }
  const gcp = load({ env: { SLUICE_KEEP_ALIVE_FRONT: "gcp", SLUICE_KEEP_ALIVE_TIMEOUT: "75s" } });
  expect(gcp.warnings[0]).toContain("up to 10m");
});

test("R05 a heartbeat that the front would not wait for is warned of at the start", () => {
  const quiet = (front: string, heartbeat: string): readonly string[] =>
    load({ flags: { "keepAlive.front": front, heartbeat } }).warnings;
  expect(quiet("nginx", "1m")).toEqual([
    "heartbeat is 1m, but nginx cuts a stream that is quiet for 1m; set a third of that at most",
  ]);
  for (const front of ["none", "gcp"]) expect(quiet(front, "2m")).toEqual([]);
  for (const front of ["nginx", "alb"]) expect(quiet(front, "59s")).toEqual([]);
});

test("P15 a certificate without its key is refused, and a key without its certificate", () => {
  expect(problemsOf({ flags: { "tls.cert": "a.pem" } })).toEqual([
    "--tls-cert: tls.cert is set, and tls.key is not; HTTPS needs both",
  ]);
  expect(problemsOf({ yaml: "tls:\n  key: a.pem" })).toEqual([
    "sluice.config.yaml:2:8: tls.key is set, and tls.cert is not; HTTPS needs both",
  ]);
});
