// npm start: sets everything up, then runs the first machine (src/first-run).
import { main, run } from './run.mjs'
import { setUp } from './setup.mjs'

await main(async () => {
  const args = process.argv.slice(2)
  const onlyEmbedded = args.join(' ').match(/--driver[ =]v86\b/u)
  const { node, env } = await setUp(onlyEmbedded ? 'start-v86' : 'start')
  return run(node, ['dist/first-run.js', ...args], { env })
})
