/** What the API document says beside the table of operations. */
import { findOperation } from '../../driver/index.ts'
import { Event } from '../../model/index.ts'
import { type DefinitionHandlers, definitionHandlers } from './definition.ts'
import { ApiDescription, Login } from './describe-api.ts'
import {
  type ApiOperation,
  conditionParameters,
  definedAnswers,
  definitionBody,
  header,
  json,
  keyParameter,
} from './openapi.ts'
import { putContent } from './openapi-content.ts'
import type { SchemaBook } from './openapi-schemas.ts'

export const tags = [
  { name: 'domains', description: 'Virtual machines and containers.' },
  { name: 'snapshots', description: 'Points in time of a domain to go back to.' },
  { name: 'checkpoints', description: 'Points in time that incremental backups begin from.' },
  { name: 'blocks', description: 'Work on the disks of a domain.' },
  { name: 'agent', description: 'What is asked of the agent in a guest.' },
  { name: 'templates', description: 'Booted machines that running copies are made of.' },
  { name: 'migrations', description: 'Domains on their way to this host.' },
  { name: 'networks', description: 'Virtual networks of this host.' },
  { name: 'nwfilters', description: 'Filters of what guests on networks send and get.' },
  { name: 'hostBridges', description: 'Bridges of this host made from its network cards.' },
  { name: 'groups', description: 'Security groups: what is let in to guests that belong together.' },
  { name: 'publications', description: 'Ports of this host that lead to guests.' },
  { name: 'reach', description: 'How guests are reached: their addresses, and what is in the way.' },
  { name: 'images', description: 'What machines are made from.' },
  { name: 'pools', description: 'Pools of storage of this host.' },
  { name: 'volumes', description: 'Disks in pools of storage.' },
  { name: 'uploads', description: 'Bytes on their way to become volumes.' },
  { name: 'schedules', description: 'What is done to domains again and again.' },
  { name: 'secrets', description: 'Passphrases of disks and passwords of servers.' },
  { name: 'jobs', description: 'Operations under way and recently ended.' },
  { name: 'events', description: 'What happens, as it happens.' },
  { name: 'host', description: 'This host and what its drivers can do.' },
  { name: 'server', description: 'The server itself and the login.' },
] as const

/** The introduction; paragraphs, of which some begin with a heading. */
export const guide = [
  '# Log in',
  'On the unix socket the kernel says who asks. Over TCP every request carries `Authorization: Bearer TOKEN`; the file `token` in the state directory of visord (`/var/lib/visor/token`) holds the token. A browser trades it for a cookie with POST /v1/session, or by opening `/#token=TOKEN`.',
  '# Name a domain',
  'Everywhere a path has {domain}, its uuid or its name will do.',
  '# Definitions',
  "A definition is read and written as JSON (`application/json`), libvirt's XML (`application/xml`) or YAML (`application/yaml`): `Accept` and `Content-Type` choose. It comes with an `ETag`; send it back in `If-Match` to change only what you have seen.",
  '# Lists',
  'Every list takes `fields=name,state` and `filter=`. A filter is comparisons joined by commas, all of which must hold: `state==running,name~web*`. There are `==` `!=` `~` `!~` (patterns with `*` and `?`) `<` `<=` `>` `>=` (`memoryKiB>=2GiB`); `state==running|paused` allows several values, and quotes keep commas: `title=="a, b"`.',
  '# Jobs',
  'Whatever changes something is a job. Long operations answer 202 with the job at once, all others when they are done. `Prefer: respond-async` asks for the job in any case, `Prefer: wait=SECONDS` waits that long for the end. A job goes on when the client goes away; POST /v1/jobs/{job}/cancel gives it up.',
  '# Bytes of volumes',
  'GET /v1/pools/{pool}/volumes/{volume}/content is the file of a volume, with `Range`, `If-Range` and `ETag`; `Want-Repr-Digest: sha-256=1` asks for its SHA-256 (RFC 9530). PUT makes a volume of the body; it is there when the whole has come and its `Repr-Digest` is right. After a break, the upload is listed at /v1/pools/{pool}/uploads: HEAD tells its `Upload-Offset`, PATCH goes on from there, and `Upload-Complete: ?1` with the last of it makes it the volume (draft-ietf-httpbis-resumable-upload; PUT with `Upload-Complete: ?0` begins one). Both ways also take `application/vnd.visor.sparse`, frames of 16 bytes (kind, zero, length; 32, 32 and 64 bits, big endian) with data (1), runs of zeros (2) and the end (3).',
  '# Events',
  'GET /v1/events is a stream of server-sent events. After a break, `Last-Event-ID` or `after=` continues without a gap; where that cannot be, an event of kind `daemon` and type `resync` says to read everything again.',
  '# Errors',
  'A failure is `application/problem+json` (RFC 9457) with a `code` for programs, a `detail` for people and, where one is known, a `remedy`. Every answer has an `X-Request-Id`, which the log has too.',
].join('\n\n')

export interface ExtraOperation {
  readonly method: string
  readonly path: string
  readonly operation: ApiOperation
}

const failed = { default: { $ref: '#/components/responses/Problem' } } as const
const status = { type: 'object', properties: { status: { type: 'string' } }, required: ['status'] } as const

/** What is served beside the operations of a connection. */
export function extraOperations(schemas: SchemaBook): ExtraOperation[] {
  return [
    ...definitionHandlers.map((one) => putDefinition(one, schemas)),
    putContent(schemas),
    events(schemas),
    ...session(schemas),
    ...server(schemas),
  ]
}

function putDefinition({ part, noun }: DefinitionHandlers, schemas: SchemaBook): ExtraOperation {
  const operation = findOperation(`${part}.define`)
  if (!operation) throw new TypeError(`there is no ${part}.define`)
  return {
    method: 'PUT',
    path: `/v1/${part}/{${noun}}/definition`,
    operation: {
      operationId: `${part}.define.put`,
      summary: `Replaces the definition of a ${noun}, or makes it.`,
      tags: [part],
      parameters: [
        keyParameter(noun),
        ...conditionParameters,
        header('Prefer', '`respond-async` or `wait=SECONDS` (RFC 7240).'),
      ],
      requestBody: definitionBody(operation, schemas),
      responses: { ...definedAnswers(operation, schemas), ...failed },
      'x-access': 'admin',
    },
  }
}

function events(schemas: SchemaBook): ExtraOperation {
  const text = { type: 'string' } as const
  return {
    method: 'GET',
    path: '/v1/events',
    operation: {
      operationId: 'events',
      summary: 'What happens, as a stream of server-sent events.',
      description: 'The `data` of each is an Event in JSON, its `id` the one to continue after.',
      tags: ['events'],
      parameters: [
        header('Last-Event-ID', 'Continue after this event.'),
        { name: 'after', in: 'query', description: 'The same, where no header can be set.', schema: text },
        { name: 'kinds', in: 'query', description: 'Only of these kinds: domain,job.', schema: text },
      ],
      responses: {
        '200': {
          description: 'The stream.',
          content: { 'text/event-stream': { schema: schemas.use(Event) } },
        },
        ...failed,
      },
      'x-access': 'read',
    },
  }
}

function session(schemas: SchemaBook): ExtraOperation[] {
  const base = { tags: ['server'] }
  const path = '/v1/session'
  const login = schemas.use(Login)
  return [
    {
      method: 'GET',
      path,
      operation: {
        ...base,
        operationId: 'session.get',
        summary: 'Who is logged in.',
        responses: { '200': json('The login.', login), ...failed },
      },
    },
    {
      method: 'POST',
      path,
      operation: {
        ...base,
        operationId: 'session.open',
        summary: 'Logs a browser in: trades the token for a cookie.',
        responses: { '201': json('Logged in; the cookie is set.', login), ...failed },
      },
    },
    {
      method: 'DELETE',
      path,
      operation: {
        ...base,
        operationId: 'session.close',
        summary: 'Logs a browser out.',
        responses: { '204': { description: 'Logged out.' }, ...failed },
      },
    },
  ]
}

function server(schemas: SchemaBook): ExtraOperation[] {
  const open = (operationId: string, path: string, summary: string, schema: object): ExtraOperation => ({
    method: 'GET',
    path,
    operation: {
      operationId,
      summary,
      tags: ['server'],
      security: [],
      responses: { '200': json('Yes.', { ...schema }), ...failed },
    },
  })
  return [
    {
      method: 'GET',
      path: '/v1',
      operation: {
        operationId: 'server.get',
        summary: 'What can be done here, and by whom.',
        tags: ['server'],
        responses: { '200': json('What is served.', schemas.use(ApiDescription)), ...failed },
        'x-access': 'read',
      },
    },
    open('server.openapi', '/v1/openapi.json', 'This document.', { type: 'object' }),
    open('server.health', '/healthz', 'Whether the server lives.', status),
    open('server.ready', '/readyz', 'Whether it is ready to serve; 503 while it is not.', status),
  ]
}
