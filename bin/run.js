/**
 * Starts one of the programs in dist/ with a Node that is new enough: this one, or else the one that the
 * set-up brought into the checkout.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { fileURLToPath } from 'node:url'

export async function runProgram(name) {
  const file = fileURLToPath(new URL(`../dist/${name}.js`, import.meta.url))
  if (!existsSync(file)) return fail(`${file} is not there: run 'npm start', or 'npm run build', first.`)
  if (Number.parseInt(process.versions.node, 10) >= 24) {
    // In our own folder: the usual place is shared by all users of the host.
    module.enableCompileCache?.(fileURLToPath(new URL('../dist/.cache', import.meta.url)))
    const { main } = await import(file)
    // What a library left open must not keep the process.
    process.exit(await main())
  }
  const own = fileURLToPath(
    new URL(`../.runtime/node_modules/node-linux-${process.arch}/bin/node`, import.meta.url),
  )
  if (!existsSync(own))
    return fail(`visor needs Node 24; this is ${process.version}. Run 'npm start' once: it brings one.`)
  const child = spawn(own, [process.argv[1], ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.once('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143)
  })
}

function fail(message) {
  console.error(message)
  process.exitCode = 1
}
