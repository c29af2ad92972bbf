/**
 * The number by which a guest knows that it goes on from where it was before, or beside another that did (libvirt's
 * `<genid/>`, Microsoft's "Virtual Machine Generation ID"): another one for each clone, and when a snapshot or a saved
 * state that is kept is gone back to; the same when a machine goes on, starts, moves to another host, or is restored
 * from the state that is used up by it.
 */
import { randomUUID } from 'node:crypto'
import type { CompleteDefinition } from '../definition/definition.ts'

/** The definition with this number, where the machine has one at all. */
export function withGeneration(definition: CompleteDefinition, genid: string): CompleteDefinition {
  return definition.genid === undefined ? definition : { ...definition, genid }
}

export const newGeneration = (): string => randomUUID()
