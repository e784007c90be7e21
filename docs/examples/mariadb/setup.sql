-- What every member has before it has any data: users, tables, and the promise not to help an older
-- term. Nothing of it is replicated. Run once, by start.sh, which fills in the passwords.
SET SESSION sql_log_bin = 0;
CREATE USER admin@'%' IDENTIFIED BY '@ADMIN_PASSWORD@';
GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION;
CREATE USER replication@'%' IDENTIFIED BY '@REPLICATION_PASSWORD@';
GRANT REPLICATION SLAVE ON *.* TO replication@'%';
CREATE USER app@'%' IDENTIFIED BY '@APP_PASSWORD@';
GRANT ALL PRIVILEGES ON app.* TO app@'%';
CREATE DATABASE app;

-- Replicated: whose data this is, and who led when, by the lock's fencing token.
CREATE DATABASE cluster;
CREATE TABLE cluster.identity (one TINYINT PRIMARY KEY, id CHAR(36) NOT NULL);
CREATE TABLE cluster.terms (
    token BIGINT UNSIGNED PRIMARY KEY,
    member VARCHAR(64) NOT NULL,
    begun TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
);
GRANT SELECT ON cluster.terms TO app@'%';

-- This member's own: the highest token it has promised to.
CREATE DATABASE node;
CREATE TABLE node.promise (one TINYINT PRIMARY KEY, token BIGINT UNSIGNED NOT NULL);
INSERT INTO node.promise VALUES (1, 0);

DELIMITER //
-- Raises the promise, or fails: nobody goes back to an older term. The caller holds the name lock
-- until its connection ends.
CREATE PROCEDURE node.raise_promise(IN wanted BIGINT UNSIGNED)
BEGIN
    DECLARE known BIGINT UNSIGNED;
    SET SESSION sql_log_bin = 0;
    IF GET_LOCK('replication', 3) IS NOT TRUE THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'replication is being changed by another';
    END IF;
    SELECT token INTO known FROM node.promise;
    IF known > wanted THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a newer term has been promised to';
    END IF;
    UPDATE node.promise SET token = wanted WHERE token < wanted;
    COMMIT;
END //

-- A new leader asks: from now on nothing is received, and so nothing acknowledged, for older terms.
CREATE PROCEDURE node.promise_to(IN wanted BIGINT UNSIGNED)
BEGIN
    CALL node.raise_promise(wanted);
    STOP SLAVE IO_THREAD;
END //

-- Replicates from the holder of a term. What was received must have been applied before.
CREATE PROCEDURE node.follow(IN wanted BIGINT UNSIGNED, IN host VARCHAR(64), IN word VARCHAR(64))
BEGIN
    CALL node.raise_promise(wanted);
    SET GLOBAL read_only = ON;
    STOP SLAVE;
    SET GLOBAL rpl_semi_sync_master_enabled = OFF;
    SET GLOBAL rpl_semi_sync_slave_enabled = ON;
    SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos;
    EXECUTE IMMEDIATE CONCAT('CHANGE MASTER TO MASTER_HOST = ', QUOTE(host),
        ', MASTER_PORT = 3306, MASTER_USER = ''replication'', MASTER_PASSWORD = ', QUOTE(word),
        ', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 0.5');
    START SLAVE;
END //
DELIMITER ;
