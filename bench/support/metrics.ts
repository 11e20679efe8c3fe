/** The samples of an admin listener's /metrics; keys as printed, labels included. */
export async function readMetrics(adminUrl: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(new URL("/metrics", adminUrl));
  if (!response.ok) throw new Error(`/metrics answered ${response.status}`);
  const samples = new Map<string, number>();
  for (const line of (await response.text()).split("\n")) {
    const match = /^([a-zA-Z_:][^ {]*(?:\{.*\})?) ([^ ]+)/.exec(line);
    if (match) samples.set(match[1] as string, Number(match[2]));
  }
  return samples;
}

/** The value of a metric, over all its labels. */
export function sumOf(samples: ReadonlyMap<string, number>, name: string): number {
  let sum = 0;
  for (const [key, value] of samples) if (key === name || key.startsWith(`${name}{`)) sum += value;
  return sum;
}
