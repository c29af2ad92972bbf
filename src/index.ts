/** The library: `import { connect } from 'visor'`. */
export * from './connect/index.ts'
export type {
  Access,
  BuildImageOptions,
  ByteStream,
  CallOptions,
  CompleteConnection,
  Connection,
  ConsoleLogOptions,
  ConsoleOptions,
  DefineOptions,
  DestroyOptions,
  Domains,
  EventOptions,
  Host,
  Images,
  Jobs,
  ListDomains,
  OperationName,
  Picture,
  RestoreOptions,
  SaveOptions,
  ShutdownOptions,
  StartOptions,
  UndefineOptions,
} from './driver/index.ts'
export { entityTag, operations, supportedOperations, supports } from './driver/index.ts'
export * from './model/index.ts'
