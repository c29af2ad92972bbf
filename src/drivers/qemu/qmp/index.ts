export * from './client.ts'
export * from './lines.ts'
export * from './message.ts'
