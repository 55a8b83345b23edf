<?php
// PHP PDO: a connection that is asked before use, and bounded retries of idempotent work.

final class Retry
{
    const TRANSIENT = ['40001', '40P01', '53300', '57P01', '57P02', '57P03', '57P05']; // and class 08
    // A login that failed has SQLSTATE 08006, whatever the reason. A server that answers with another FATAL means it.
    const PASSING = '/starting up|shutting down|recovery mode|not yet accepting|too many clients|slots/';

    private ?PDO $connection = null;

    public function __construct(private string $dsn, private string $user, private ?string $password = null)
    {
    }

    /** Work in one transaction, again after a transient failure, for $patience seconds. It has to be idempotent. */
    public function run(callable $work, float $patience = 30.0): mixed
    {
        $deadline = microtime(true) + $patience;
        for ($attempt = 0; ; $attempt++) {
            try {
                $connection = $this->living();
                $connection->beginTransaction();
                $result = $work($connection);
                $connection->commit();
                return $result;
            } catch (PDOException $error) {
                $connected = $this->connection !== null;
                $this->connection = null; // also ends the transaction
                $delay = mt_rand() / mt_getrandmax() * min(2.0, 0.1 * 2 ** $attempt);
                if (!self::isTransient($error, $connected) || microtime(true) + $delay >= $deadline) {
                    throw $error;
                }
            }
            usleep((int) ($delay * 1e6));
        }
    }

    private function living(): PDO
    {
        try {
            $this->connection?->query('SELECT 1');
        } catch (PDOException) {
            $this->connection = null;
        }
        return $this->connection ??= new PDO($this->dsn, $this->user, $this->password);
    }

    private static function isTransient(PDOException $error, bool $connected): bool
    {
        $code = $error->errorInfo[0] ?? '';
        if (!$connected) {
            return !str_contains($error->getMessage(), 'FATAL') || preg_match(self::PASSING, $error->getMessage());
        }
        // HY000 after a statement: the connection was lost, and libpq has no SQLSTATE for it.
        return in_array($code, self::TRANSIENT, true) || str_starts_with($code, '08') || $code === 'HY000';
    }
}
