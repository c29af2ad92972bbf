/**
 * Disks that failed: names the disk, and keeps a guest that meets errors without end from flooding those who
 * listen. Whether a guest stops, is told or goes on is its definition's `error_policy`; QEMU does that.
 */
import { VisorError } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord, type QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'

/** Errors that stop nothing are told at most this often. */
const tellIntervalMs = 1_000

export function watchIoErrors(machine: Machine, registry: Registry): void {
  let toldAt = Number.NEGATIVE_INFINITY
  machine.interceptors.add(({ event, data }: QmpEvent) => {
    if (event !== 'BLOCK_IO_ERROR') return false
    const stops = data.action === 'stop'
    if (!stops && performance.now() - toldAt < tellIntervalMs) return true
    toldAt = performance.now()
    // At once, so that the STOP that follows is put down to this.
    if (stops) machine.setState({ ...machine.state, state: 'paused', reason: 'io-error' })
    void tell(machine, registry, data, stops)
    return true
  })
}

async function tell(
  machine: Machine,
  registry: Registry,
  data: QmpEvent['data'],
  stops: boolean,
): Promise<void> {
  const blocks = await queryBlocks(machine)
  const block = blocks.find(({ device, inserted }) => {
    const node = isRecord(inserted) ? inserted['node-name'] : undefined
    return node !== undefined && node === data['node-name'] ? true : device !== '' && device === data.device
  })
  const why = typeof data.reason === 'string' ? data.reason : 'unknown reason'
  const message = `${nameOf(machine, block)} failed to ${data.operation === 'read' ? 'read' : 'write'}: ${why}.`
  const { state } = machine
  const isStill = state.state === 'paused' && state.reason === 'io-error'
  if (!stops || isStill) machine.setState({ ...state, message })
  const { uuid } = machine.details.definition
  registry.tell(uuid, { type: stops ? 'suspended' : 'changed', reason: 'io-error', message })
}

/** For a machine that was found so: which disk it was. */
export async function explainIoError(machine: Machine): Promise<void> {
  const failed = (await queryBlocks(machine)).find((block) =>
    ['failed', 'nospace'].includes(String(block['io-status'])),
  )
  const { state } = machine
  if (!failed || state.reason !== 'io-error') return
  const why = failed['io-status'] === 'nospace' ? 'there was no space left' : 'an error of the host'
  machine.setState({ ...state, message: `${nameOf(machine, failed)} failed: ${why}.` })
}

async function queryBlocks({ monitor }: Machine): Promise<Record<string, unknown>[]> {
  const answer = await monitor.execute('query-block').catch((error: unknown) => {
    if (error instanceof VisorError) return []
    throw error
  })
  return Array.isArray(answer) ? answer.filter(isRecord) : []
}

function nameOf({ details }: Machine, block: Record<string, unknown> | undefined): string {
  const parts = typeof block?.qdev === 'string' ? block.qdev.split('/') : []
  const disk = details.definition.devices.disks.find(
    ({ alias }) => alias !== undefined && parts.includes(alias),
  )
  if (!disk) return 'A disk'
  const source = disk.file ?? disk.block
  return `The disk '${disk.target}'${source === undefined ? '' : ` (${source})`}`
}
