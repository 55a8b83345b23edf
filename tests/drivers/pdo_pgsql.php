<?php
// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// PDO, with the rendered part of the DSN and the rendered options.
declare(strict_types=1);

$given = json_decode(fgets(STDIN), true);
$server = $given['server'];
$dsn = "pgsql:host={$server['host']};port={$server['port']};dbname={$server['dbname']}";
$options = [];
foreach ($given['parameters'] ?? [] as $name => $value) {
    if (str_starts_with($name, 'PDO::')) {
        $options[constant($name)] = $value;
    } elseif (!isset($given['url'])) {
        $dsn .= ";$name=$value";
    }
}
if (isset($given['url'])) {
    $dsn .= ';' . $given['url'];
}
$connection = new PDO($dsn, $server['user'], null, $options);
$connection->query('SELECT 1');
echo "{}\n";
stream_get_contents(STDIN);
