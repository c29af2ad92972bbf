// Running programs for the chores in this folder. Plain JavaScript that any Node from 20 on runs, with nothing installed.
import { spawn } from 'node:child_process'
import { accessSync, constants, realpathSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** A failure that is told in its sentence, without a stack. */
export class ChoreError extends Error {}

/**
 * Runs a program in the checkout; its output goes to ours, or is caught with `quiet` and shown only when it
 * fails. Resolves with its exit code, 128 + the signal's number when a signal ended it. While it runs, SIGINT
 * and SIGTERM are its to answer: a terminal sends them to it too, and what came to us alone is passed on.
 */
export function run(program, args, { env = process.env, cwd = root, quiet = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit' })
    const output = []
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => output.push(chunk))
    const pass = (signal) => child.kill(signal)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, pass)
    const settle = () => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, pass)
    }
    child.once('error', (error) => {
      settle()
      reject(new ChoreError(`${program} could not be started: ${error.message}`))
    })
    child.once('close', (code, signal) => {
      settle()
      if (quiet && code !== 0) process.stderr.write(Buffer.concat(output))
      resolve(code ?? 128 + (osConstants.signals[signal] ?? 1))
    })
  })
}

/** As {@link run}, but anything but exit code 0 is a failure. */
export async function runChecked(program, args, options) {
  const code = await run(program, args, options)
  if (code !== 0) throw new ChoreError(`${program} ${args.join(' ')} ended with exit code ${code}.`)
}

/** Where a program is on the PATH; undefined when it is not. */
export function which(program, env = process.env) {
  const folders = [...(env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.map((folder) => join(folder, program)).find(isExecutable)
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Does `work`, telling what and how long it took. */
export async function step(title, work) {
  const started = performance.now()
  process.stderr.write(`${title} ...\n`)
  const result = await work()
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  process.stderr.write(`${title}: done in ${seconds} s\n`)
  return result
}

/** Whether the module with this address is the program that was started. */
export function isProgram(url) {
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(url)
}

/** Runs a chore as the program; a {@link ChoreError} is told, and the exit code is 1. */
export async function main(chore) {
  try {
    process.exitCode = (await chore()) ?? 0
  } catch (error) {
    console.error(error instanceof ChoreError ? error.message : error)
    process.exitCode = 1
  }
}
