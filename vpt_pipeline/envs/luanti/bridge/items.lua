-- Dug nodes drop items that are picked up by walking over them, as in Minecraft.
local REACH, AGE_DUG, AGE_THROWN = 1.6, 0.4, 2

minetest.handle_node_drops = function(pos, drops)
  for _, item in ipairs(drops) do
    local object = minetest.add_item(pos, ItemStack(item))
    if object then object:set_velocity {x = 0, y = 1.5, z = 0} end
  end
end

local item_drop = minetest.item_drop
minetest.item_drop = function(stack, dropper, pos)
  bridge.report {type = "drop", item = stack:get_name()}
  return item_drop(stack, dropper, pos)
end

function bridge.pick_up(player)
  local pos, inventory = player:get_pos(), player:get_inventory()
  pos.y = pos.y + 0.5
  for _, object in ipairs(minetest.get_objects_inside_radius(pos, REACH)) do
    local entity = object:get_luaentity()
    if entity and entity.name == "__builtin:item" and (entity.itemstring or "") ~= "" then
      local thrown = (entity.dropped_by or "") ~= ""
      if (entity.age or 0) > (thrown and AGE_THROWN or AGE_DUG) then
        local stack = ItemStack(entity.itemstring)
        local item, count = stack:get_name(), stack:get_count()
        local left = inventory:add_item("main", stack)
        local taken = count - left:get_count()
        if taken > 0 then bridge.report {type = "pickup", item = item, count = taken, own = thrown} end
        if left:is_empty() then
          entity.itemstring = ""
          object:remove()
        else
          entity:set_item(left)
        end
      end
    end
  end
end
