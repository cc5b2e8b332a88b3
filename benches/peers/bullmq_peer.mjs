// BullMQ: `node bullmq_peer.mjs fill JOBS`, `node bullmq_peer.mjs work CONCURRENCY`.
import { writeFileSync } from "node:fs";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const [what, number] = [process.argv[2], Number(process.argv[3])];
const connection = new Redis(process.env.PEER_REDIS, { maxRetriesPerRequest: null });

if (what === "fill") {
  const queue = new Queue("bench", { connection });
  const marks = { [Math.floor(number / 10)]: "begin", [number - 1]: "end" };
  for (let first = 0; first < number; first += 1000) {
    const numbers = Array.from({ length: Math.min(1000, number - first) }, (_, k) => first + k);
    await queue.addBulk(numbers.map((k) => ({ name: "job", data: marks[k] ?? "", opts: { removeOnComplete: true } })));
  }
  await queue.close();
  connection.disconnect();
} else {
  new Worker("bench", async (job) => job.data && writeFileSync(job.data, ""), { connection, concurrency: number });
}
