<?php
// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// Idempotent work through the snippet's Retry until the end; prints what came of it.
declare(strict_types=1);
require __DIR__ . '/../../docs/snippets/retry_pdo.php';

$given = json_decode(fgets(STDIN), true);
$server = $given['server'];
$dsn = "pgsql:host={$server['host']};port={$server['port']};dbname={$server['dbname']}";
$retry = new Retry($dsn, $server['user']);
stream_set_blocking(STDIN, false);
$done = 0;
$failures = [];
$request = 0;
do {
    $key = "{$given['name']}-1-" . $request++;
    try {
        $retry->run(
            fn (PDO $connection) => $connection->prepare('SELECT do_once(?, ?)')
                ->execute([$given['name'], $key]),
            $given['patience']
        );
        $done++;
    } catch (PDOException $error) {
        $failures[$error->getMessage()] = ($failures[$error->getMessage()] ?? 0) + 1;
        usleep(50000);
    }
} while (fgets(STDIN) === false && !feof(STDIN));
echo json_encode(['done' => $done, 'failures' => (object) $failures]), "\n";
