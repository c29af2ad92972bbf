export { checkSecretDefinition, secretUsage, secretUsageName } from './check.ts'
export { SecretDefinition, type SecretDefinitionInput, secretUsages } from './definition.ts'
export { formatSecretDefinition, parseSecretDefinition } from './documents.ts'
export { maxSecretBytes, Secret, SecretValue } from './secret.ts'
