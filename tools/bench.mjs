// npm run bench: sets everything up, then measures (bench/main.ts).
import { main, run } from './run.mjs'
import { setUp } from './setup.mjs'

await main(async () => {
  const { node, env } = await setUp('bench')
  return run(node, ['bench/main.ts', ...process.argv.slice(2)], { env })
})
