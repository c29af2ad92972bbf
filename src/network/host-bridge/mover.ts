/**
 * The program that makes a bridge and watches over it: `node mover.ts FOLDER BRIDGE`. A process of its own, so that
 * all goes back whatever becomes of visord. SIGUSR2 confirms, SIGTERM gives back.
 */
import { readFile, rm } from 'node:fs/promises'
import { identifyProcess } from '../../host/index.ts'
import { giveBack, moveToBridge } from './move.ts'
import { type BridgeRecord, forgetRecord, type Task, taskFile, writeRecord } from './record.ts'

type Answer = 'confirmed' | 'cancelled'

/** Answers count from the first moment on: without a listener, the signals would end the process. */
function listenForAnswer() {
  let given: Answer | undefined
  let wake: (() => void) | undefined
  const answer = (what: Answer) => () => {
    given ??= what
    wake?.()
  }
  process.on('SIGUSR2', answer('confirmed'))
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, answer('cancelled'))
  return {
    within: (ms: number) =>
      new Promise<Answer | undefined>((resolve) => {
        const timer = setTimeout(() => resolve(given), ms)
        wake = () => {
          clearTimeout(timer)
          resolve(given)
        }
        if (given) wake()
      }),
  }
}

async function takeTask(folder: string, bridge: string): Promise<Task> {
  const file = taskFile(folder, bridge)
  const task = JSON.parse(await readFile(file, 'utf8')) as Task
  // Who removes it has it: a daemon that came meanwhile may have given it up.
  await rm(file)
  return task
}

async function main([folder = '', bridge = '']: readonly string[]): Promise<void> {
  const answer = listenForAnswer()
  const { kind, plan, boot, confirmSeconds } = await takeTask(folder, bridge)
  const mover = identifyProcess(process.pid)
  const record = (phase: BridgeRecord['phase'], more: Partial<BridgeRecord> = {}) =>
    writeRecord(folder, { phase, plan, boot, ...(mover && { mover }), ...more })
  const restore = async (message?: string) => {
    const complaints = await giveBack(plan)
    if (complaints.length > 0) await record('broken', { message: complaints.join(' ') })
    else if (message !== undefined) await record('failed', { message })
    else await forgetRecord(folder, bridge)
  }

  if (kind === 'remove') {
    await record('removing')
    return restore()
  }
  await record('moving')
  try {
    await moveToBridge(plan)
  } catch (error) {
    return restore(error instanceof Error ? error.message : String(error))
  }
  const confirmMs = confirmSeconds * 1000
  await record('pending', { confirmBy: Date.now() + confirmMs })
  if ((await answer.within(confirmMs)) === 'confirmed') await record('active')
  else await restore()
}

await main(process.argv.slice(2))
process.exit(0)
