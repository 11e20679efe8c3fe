// What the peer servers share: events made by an own timer on an ideal schedule, steered over
// standard input with the same commands as send-only.c (`start <events/s> <bytes> <seconds>`,
// `report`, `quit`).
import { createInterface } from "node:readline";

const nowMicros = () => Number(process.hrtime.bigint() / 1000n);

/** The text that the load client checks: `<stream><number> <due micros> xxx...`. */
const eventText = (number, dueMicros, bytes) => `a${number} ${dueMicros} `.padEnd(bytes, "x");

/** Calls `send(text, number)` for each event that is due; returns when standard input ends. */
export async function serveCommands(send) {
  let number = 0;
  let timer;
  const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  const start = (rate, bytes, seconds) => {
    const from = nowMicros() + 100_000;
    const eventsMax = Math.round(rate * seconds);
    let sent = 0;
    const tick = () => {
      for (;;) {
        if (sent === eventsMax) {
          say({ msg: "done", ticks: sent, number: number - 1 });
          return;
        }
        const due = Math.round(from + (sent * 1e6) / rate);
        const wait = due - nowMicros();
        if (wait > 0) {
          timer = setTimeout(tick, Math.ceil(wait / 1000));
          return;
        }
        send(eventText(number, due, bytes), number);
        number++;
        sent++;
      }
    };
    tick();
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, ...numbers] = line.split(" ");
    if (command === "start") start(...numbers.map(Number));
    else if (command === "report") say({ msg: "report", memory: process.memoryUsage() });
    else break;
  }
  clearTimeout(timer);
}

export const sayListening = (server) =>
  process.stdout.write(
    `${JSON.stringify({ msg: "listening", url: `http://127.0.0.1:${server.address().port}` })}\n`,
  );
