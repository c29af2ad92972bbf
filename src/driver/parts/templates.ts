/** Booted machines that running copies are made of. */
import { Domain, schema as s, Template } from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface CreateTemplateOptions extends CallOptions {
  /** The running domain it is made of, which goes on. */
  readonly domain: string
}
export interface CloneTemplateOptions extends CallOptions {
  /** How many; one without it. */
  readonly count?: number
  /** Name of the clone, or what the names of several begin with. */
  readonly name?: string
  /** Leave the processors stopped. */
  readonly paused?: boolean
}

export interface Templates {
  /** All templates, by name. */
  list(): Promise<Template[]>
  get(template: string): Promise<Template>
  create?(template: string, options: CreateTemplateOptions): Promise<Template>
  /** `invalid-state` while clones depend on it, or it is pinned. */
  remove?(template: string, options?: CallOptions): Promise<void>
  /** Resolves with the clones when their processors run. */
  clone?(template: string, options?: CloneTemplateOptions): Promise<Domain[]>
  /** How many copies are kept ready; 0 ends them. */
  setPool?(template: string, options: { readonly size: number } & CallOptions): Promise<Template>
  setPinned?(template: string, options: { readonly pinned: boolean } & CallOptions): Promise<Template>
}

export const templateOperations = {
  list: {
    access: 'read',
    doc: 'All templates, by name.',
    result: s.array('templates', Template),
  },
  get: { access: 'read', doc: 'A template.', key: 'template', result: Template },
  create: {
    access: 'admin',
    doc: 'Makes a template of a running domain.',
    key: 'template',
    refersTo: 'domain',
    options: s.object('CreateTemplate', 'Of what', {
      domain: s.string('uuid or name of the running domain', { maxLength: 255 }),
    }),
    result: Template,
    long: true,
  },
  remove: { access: 'admin', doc: 'Removes a template.', key: 'template' },
  clone: {
    access: 'admin',
    doc: 'Makes running copies.',
    key: 'template',
    parallel: true,
    options: s.object('CloneTemplate', 'How', {
      count: s.integer('how many', { optional: true, min: 1, max: 1000 }),
      name: s.string('name, or what the names of several begin with', { optional: true, maxLength: 240 }),
      paused: s.boolean('leave the processors stopped', { optional: true }),
    }),
    result: s.array('the clones', Domain),
  },
  setPool: {
    access: 'admin',
    doc: 'Sets how many copies are kept ready.',
    key: 'template',
    options: s.object('SetPool', 'How many', { size: s.integer('copies', { min: 0, max: 1000 }) }),
    result: Template,
  },
  setPinned: {
    access: 'admin',
    doc: 'Sets whether a template is protected from removal.',
    key: 'template',
    options: s.object('SetPinned', 'What', { pinned: s.boolean('whether it is protected') }),
    result: Template,
  },
} as const satisfies PartTable<Templates>
