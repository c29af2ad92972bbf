/** Ports of the host that lead to guests on its networks. */
import { CreatePublication, Publication, schema as s } from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface CreatePublicationOptions extends CallOptions {
  readonly domain: string
  /** Of the guest; whoever knows the guest fills it in. */
  readonly name?: string
  readonly proto?: 'tcp' | 'udp'
  /** Of the host; all without it. */
  readonly address?: string
  readonly start: number
  readonly end?: number
  readonly to?: number
}

export interface Publications {
  /** By port. */
  list(): Promise<Publication[]>
  get(publication: string): Promise<Publication>
  /**
   * Makes ports of the host lead to a guest: from elsewhere, from the host itself and from other guests; wherever
   * the guest's address is, and whenever it runs. Fails with `busy` when a program or another guest has a port.
   */
  create?(options: CreatePublicationOptions): Promise<Publication>
  remove?(publication: string, options?: CallOptions): Promise<void>
}

export const publicationOperations = {
  list: {
    access: 'read',
    doc: 'Ports of the host that lead to guests, by port.',
    result: s.array('publications', Publication),
  },
  get: { access: 'read', doc: 'A publication.', key: 'publication', result: Publication },
  create: {
    access: 'admin',
    doc: 'Makes ports of the host lead to a guest.',
    refersTo: 'domain',
    options: CreatePublication,
    result: Publication,
  },
  remove: { access: 'admin', doc: 'Takes a publication back.', key: 'publication' },
} as const satisfies PartTable<Publications>
